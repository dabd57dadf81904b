package process

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/userlog"
)

// WithAccounts calls f with the accounts in the data folder of a stopped server, and
// the server's name. A folder without a server becomes one, so that the first
// administrator is there before the first start.
func WithAccounts(cfg *config.Config, f func(s *accounts.Service, serverName string) error) error {
	_, err := os.Stat(filepath.Join(cfg.Data, serverNameFile))
	made := err != nil
	db, err := local.Open(local.Options{Dir: cfg.Data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("%w; stop the server first, or name its folder with -data", err)
	}
	if err := claim(cfg.Data, cfg.ServerName); err != nil {
		return errors.Join(err, db.Close())
	}
	if made {
		fmt.Fprintf(os.Stderr, "There was no server in %s: it is that of %s now.\n", cfg.Data, cfg.ServerName)
	}
	log := &userlog.Service{DB: db.DB(), Clock: clock.System{}, Waker: db.Wake()}
	err = f(accounts.New(accounts.Options{
		DB: db.DB(), Log: log, ServerName: cfg.ServerName, PasswordCost: string(cfg.PasswordCost),
	}), cfg.ServerName)
	return errors.Join(err, db.Close())
}
