// Command aws is the CDK app: it turns the routes and workers of functions/api
// into one CloudFormation stack for one server name.
//
//	npx cdk deploy -c serverName=example.org -c stage=prod
//
//	go run ./infra/aws preflight -c serverName=example.org -c stage=prod
//
// Synthesis needs Node and nothing else: no account, no network, no Docker. The
// words that may follow -c are in options.go. What becomes of a declaration is
// in function.go (the function, its role and logs), openapi.go (its place in the
// gateway), door.go (the way there) and trigger.go (what starts a worker). What
// CloudFormation can neither make nor delete is in custom.go.
//
// Not here yet, and why it is not faked:
//
//   - Uploads above 4.5 MB.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/virga-im/virga/functions/api"
	_ "github.com/virga-im/virga/infra/aws/quiet"
)

func main() {
	err := run()
	jsii.Close()
	if err != nil {
		fmt.Fprintln(os.Stderr, "virga:", err)
		os.Exit(1)
	}
}

func run() error {
	args := os.Args[1:]
	before := len(args) > 0 && args[0] == "preflight"
	if before {
		args = args[1:]
	}
	said, err := readContext(args)
	if err != nil {
		return err
	}
	if before {
		return runPreflight(context.Background(), said)
	}
	out := os.Getenv("CDK_OUTDIR") // set by the CDK command line
	if out == "" {
		out = "cdk.out"
	}
	app := newApp(out, said)
	all, _ := app.Node().GetAllContext(nil).(map[string]any)
	opts, err := readOptions(all)
	if err != nil {
		return err
	}
	dir, err := buildBootstrap(opts.arch)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := newStack(app, opts, table{routes: api.Routes(), workers: api.Workers()}, dir); err != nil {
		return err
	}
	app.Synth(nil)
	return nil
}

// readContext reads the context of a run without the CDK's command line, which
// hands it over by itself: that of cdk.json, and then -c name=value, as often as
// it is given.
func readContext(args []string) (map[string]any, error) {
	var file struct{ Context map[string]any }
	if text, err := os.ReadFile("cdk.json"); err == nil {
		if err := json.Unmarshal(text, &file); err != nil {
			return nil, fmt.Errorf("cdk.json: %w", err)
		}
	}
	if file.Context == nil {
		file.Context = map[string]any{}
	}
	flags := flag.NewFlagSet("virga", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Func("c", "", func(pair string) error {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("write name=value")
		}
		file.Context[name] = value
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is not understood: write preflight, or nothing, and then -c name=value", flags.Arg(0))
	}
	return file.Context, nil
}

// newApp returns an app that writes to the folder out.
func newApp(out string, context map[string]any) awscdk.App {
	return awscdk.NewApp(&awscdk.AppProps{
		Outdir:             jsii.String(out),
		AnalyticsReporting: jsii.Bool(false),
		TreeMetadata:       jsii.Bool(false),
		StackTraces:        jsii.Bool(false),
		Context:            &context,
	})
}
