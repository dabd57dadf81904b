// Command smoke is the check of a minute after a deploy: it uses a server as two
// people would, and looks at what no test without an account can prove.
//
//	go run ./infra/aws/smoke https://d111111abcdef8.cloudfront.net
//	go run ./infra/aws/smoke -gateway https://a1b2c3.execute-api.eu-central-1.amazonaws.com https://matrix.example.org
//
// It makes two accounts and deactivates them at its end. Where registration is not
// open, they need what the environment has: VIRGA_REGISTRATION_TOKEN, a registration
// token, or VIRGA_REGISTRATION_SHARED_SECRET. Or the file of -accounts has two that
// there are, one a line: user name, space, password.
//
// It leaves two rooms without members, one of them with some megabytes of state.
//
// It works on a local server as well, and says what it cannot look at there. It needs
// nothing but Go's standard library, so it compiles at once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/virga-im/virga/infra/aws/smoke/checks"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "virga: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) error {
	o := checks.Options{Token: env("VIRGA_REGISTRATION_TOKEN"), SharedSecret: env("VIRGA_REGISTRATION_SHARED_SECRET")}
	flags := flag.NewFlagSet("smoke", flag.ContinueOnError)
	flags.Func("gateway", "an `address` that must refuse whoever does not come through the front door, such as that of the HTTP API; as often as there are such", func(v string) error {
		o.Direct = append(o.Direct, strings.TrimSuffix(v, "/"))
		return nil
	})
	accounts := flags.String("accounts", "", "a `file` with two accounts to use, one a line: user name, space, password")
	flags.DurationVar(&o.Idle, "idle", 30*time.Second, "how long a client waits that hears nothing")
	flags.DurationVar(&o.Wake, "wake", 5*time.Second, "how soon a client that waits is to hear of a message")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 || !strings.HasPrefix(flags.Arg(0), "http") {
		return errors.New("say at the end where the server is, such as https://matrix.example.org: the output URL of the deploy")
	}
	o.URL = strings.TrimSuffix(flags.Arg(0), "/")
	if *accounts != "" {
		text, err := os.ReadFile(*accounts)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if name, password, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " "); ok {
				o.Accounts = append(o.Accounts, checks.Account{Name: name, Password: password})
			}
		}
		if len(o.Accounts) != 2 {
			return fmt.Errorf("%s has %d accounts, and not two: write on each line a user name, a space, and the password", *accounts, len(o.Accounts))
		}
	}
	return checks.Run(ctx, o, out)
}
