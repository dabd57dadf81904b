package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"

	"github.com/virga-im/virga/infra/admin"
	"github.com/virga-im/virga/infra/local/process"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/config"
)

// administer runs a command of infra/admin on a stopped server. The flags of the server
// come before it.
func administer(ctx context.Context, args []string) error {
	n := slices.IndexFunc(args, func(a string) bool { return slices.Contains(admin.Commands, a) })
	if n < 0 {
		n = len(args)
	}
	cfg, err := config.Load(config.Input{Args: args[:n], Env: os.LookupEnv, ReadFile: readYAML})
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print("admin [flags] COMMAND, of a stopped server. Commands:\n", admin.Usage)
		return nil
	}
	if err != nil {
		return err
	}
	if err := admin.Check(args[n:], os.Stderr); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	return process.WithAccounts(cfg, func(service *accounts.Service, serverName string) error {
		return admin.Run(ctx, admin.Console{Accounts: service, ServerName: serverName, In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, args[n:])
	})
}
