// Command admin makes the first administrator of a stack, and helps those who are
// locked out:
//
//	go run ./infra/aws/admin -stack virga-example-org create-user -admin alice
//	go run ./infra/aws/admin -stack virga-example-org registration-token -uses 5
//
// It acts on the tables with the credentials and the region of its environment, as the
// AWS command line does: no secret for it is in the stack, and no function may do what
// it does. They need to read and write the tables <stack>_users and <stack>_tokens, and
// to describe the stack.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/virga-im/virga/infra/admin"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/account"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/userlog"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "virga: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out, said io.Writer) error {
	flags := flag.NewFlagSet("admin", flag.ContinueOnError)
	flags.SetOutput(said)
	stack := flags.String("stack", "", "the stack")
	flags.Usage = func() {
		fmt.Fprintf(said, "go run ./infra/aws/admin -stack NAME COMMAND\n\nCommands:\n%s", admin.Usage)
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *stack == "" {
		return errors.New("-stack says which server it is")
	}
	if err := admin.Check(flags.Args(), said); err != nil {
		return err
	}
	at, err := account.Open(ctx)
	if err != nil {
		return err
	}
	// A user of another server name would be one that nobody can ever use, so it is
	// asked for where it is known.
	is, err := at.Stack(ctx, *stack)
	switch {
	case errors.Is(err, account.ErrMissing):
		return fmt.Errorf("there is no stack %s in %s: -stack names it, AWS_REGION where it is", *stack, at.Region())
	case err != nil:
		return fmt.Errorf("look which server the stack is: %w", err)
	case is.Tags["server"] == "":
		return fmt.Errorf("the stack %s has no tag \"server\": is it a homeserver?", *stack)
	}
	db := aws.NewDB(aws.Options{Stack: *stack, Config: account.LoadConfig()})
	log := &userlog.Service{DB: db, Clock: clock.System{}, Waker: aws.HoldInLambda(clock.System{})}
	return admin.Run(ctx, admin.Console{
		Accounts:   accounts.New(accounts.Options{DB: db, Log: log, ServerName: is.Tags["server"]}),
		ServerName: is.Tags["server"], In: in, Out: out, Err: said,
	}, flags.Args())
}
