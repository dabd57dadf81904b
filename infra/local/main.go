// Command local runs a homeserver in one process and one folder, with nothing
// to install. The routes are those that run as Lambda functions on AWS.
//
//	go run ./infra/local -help
//	go run ./infra/local export -data ./data FILE
//	go run ./infra/local import -data ./new FILE
//	go run ./infra/local admin -data ./data create-user -admin alice
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/virga-im/virga/infra/local/process"
	"github.com/virga-im/virga/shared/config"
)

func main() {
	keepPrivate()
	if len(os.Args) > 1 && moves[os.Args[1]] != nil {
		ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer cancel()
		ended(move(ctx, os.Args[1:]))
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "admin" {
		ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer cancel()
		ended(administer(ctx, os.Args[2:]))
		return
	}
	cfg, err := config.Load(config.Input{Args: os.Args[1:], Env: os.LookupEnv, ReadFile: readYAML, Usage: os.Stdout})
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print("\nCommands:\n", moveUsage, "\n  admin [flags] COMMAND  make an administrator, reset a password and such; admin -help tells\n")
		return
	}
	if err == nil {
		err = run(cfg)
	}
	ended(err)
}

func ended(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "virga: %v\n", err)
		os.Exit(1)
	}
}

// grace is how long requests may take to end after SIGTERM.
const grace = 600 * time.Millisecond

// longest is how long a request may take, however slowly its body arrives or its
// answer is read. It is longer than a client may wait for news, because the time
// to read goes on while it waits and ends the request.
const longest = process.MaxHold + time.Minute

// run serves until SIGTERM or SIGINT.
func run(cfg *config.Config) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
	slog.SetDefault(log) // for what the domains tell
	if p := cfg.Pending(); len(p) > 0 {
		log.Warn("flags without effect in this version", "flags", p)
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()

	ls, err := listen(cfg)
	if err != nil {
		return err
	}
	defer ls.close()
	p, err := process.Open(process.Options{Config: cfg, Log: log})
	if err != nil {
		return err
	}
	// The self-signed pair lies in the folder, which is ours only now.
	if err := ls.secure(cfg); err != nil {
		return errors.Join(err, p.Close())
	}
	server := &http.Server{
		Handler:           thrifty(stop, p.Handler),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       longest,
		WriteTimeout:      longest,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, len(ls))
	for _, l := range ls {
		go func() { failed <- server.Serve(l) }()
	}
	greet(os.Stdout, cfg, ls)

	select {
	case <-stop.Done():
		log.Info("stopping")
	case err = <-failed:
	}
	cancel() // a second signal kills
	ctx, done := context.WithTimeout(context.Background(), grace)
	defer done()
	p.Drain()
	if server.Shutdown(ctx) != nil {
		_ = server.Close() // cuts what is left; clients ask again
	}
	return errors.Join(err, p.Close())
}

// listeners are the client listener and, if there is one, the federation
// listener, which speaks TLS once it is secure.
type listeners []net.Listener

func (ls listeners) close() {
	for _, l := range ls {
		_ = l.Close() // a second time, usually
	}
}

func listen(cfg *config.Config) (listeners, error) {
	client, err := net.Listen("tcp", cfg.ClientListen)
	if err != nil {
		return nil, fmt.Errorf("%w; -client-listen chooses another address", err)
	}
	ls := listeners{client}
	if addr := client.Addr().(*net.TCPAddr); cfg.PublicBaseURL == "" && addr.IP.IsLoopback() {
		cfg.PublicBaseURL = "http://" + addr.String()
	}
	if cfg.FederationListen == "" {
		return ls, nil
	}
	l, err := net.Listen("tcp", cfg.FederationListen)
	if err != nil {
		ls.close()
		return nil, fmt.Errorf("%w; -federation-listen chooses another address", err)
	}
	return append(ls, l), nil
}

func readYAML(name string) (map[string]any, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	err = yaml.Unmarshal(b, &tree)
	if bad := new(yaml.TypeError); errors.As(err, &bad) {
		return nil, errors.New("write keys and values, such as server_name: example.org")
	}
	return tree, err
}
