// Command functions is the program of every Lambda function. Which route or
// worker a function runs is the name that Lambda gives it as its handler:
//
//   - the name of a route: that route in all its spellings;
//   - the name of a worker;
//   - all: every route. The gateway decides which of them reach the function,
//     and its role what they may touch;
//   - unknown: no route. It says 404 or 405 to what the gateway does not know.
//
// A homeserver on this machine is another program: go run ./infra/local.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/store"
)

// maxHold bounds how long a request waits. In a function it waits less: a function
// has to answer in its own time.
const maxHold = 30 * time.Second

func main() {
	run, err := program(aws.HandlerName(), os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "virga:", err)
		os.Exit(1)
	}
	aws.Serve(run)
}

// program builds what the function runs. Nothing is connected to before it is
// used, so a function pays at its start only for what its route needs.
func program(handler string, logs io.Writer) (aws.Function, error) {
	routes, workers := api.Routes(), api.Workers()
	if err := known(handler, routes, workers); err != nil {
		return nil, err
	}
	cfg, err := config.Load(config.Input{Env: os.LookupEnv})
	if err != nil {
		return nil, err
	}
	at, err := aws.FromEnvironment()
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: cfg.LogLevel, ReplaceAttr: lambdaWords}))
	slog.SetDefault(log) // for what the domains tell
	now, db := clock.System{}, aws.NewDB(at)
	wakes := aws.HoldInLambda(now)
	if at.Waits != "" {
		wakes = aws.HoldInQueue(at, db, now, log)
	}
	server, err := home.New(home.Options{
		Config: cfg,
		DB:     db, Queues: aws.NewSender(at), Blobs: aws.NewBlobs(at), Wake: wakes,
		Clock:      now,
		Operations: api.Operations(routes),
	})
	if err != nil {
		return nil, err
	}
	rt := &route.Runtime{Server: server, Waiter: wakes, Clock: now, MaxHold: maxHold, Log: log}
	if cfg.RateLimits {
		rt.Limits = &route.Limits{Rates: cfg.Rates}
	}
	for _, w := range workers {
		if w.Name == handler {
			run, err := worker(rt, w, at)
			return run.Function(), err
		}
	}
	door, err := aws.DoorFromEnvironment(cfg.PublicBaseURL)
	if err != nil {
		return nil, err
	}
	return aws.HTTP(door, route.Mux(rt, served(handler, routes))), nil
}

// The handlers that are not the name of a route or worker.
const (
	handlerAll     = "all"
	handlerUnknown = "unknown"
)

// known refuses a handler that names nothing. A function that started anyway
// would answer 404 to everything, as if the server had no such endpoint.
func known(handler string, routes []route.Route, workers []route.Worker) error {
	switch handler {
	case handlerAll, handlerUnknown:
		return nil
	case "":
		return fmt.Errorf("_HANDLER is not set: this program runs on AWS Lambda; a server on this machine is started by go run ./infra/local")
	}
	for _, r := range routes {
		if r.Name == handler {
			return nil
		}
	}
	for _, w := range workers {
		if w.Name == handler {
			return nil
		}
	}
	return fmt.Errorf("_HANDLER is %q, and this program has no such route or worker: its names are the operationIds in functions/api, the workers, %q and %q; a stack and its program must be deployed together", handler, handlerAll, handlerUnknown)
}

// served returns the routes that a function answers. A function of one route
// does not recognise the URIs of others, so nothing gets past the gateway to a
// handler with another role.
func served(handler string, routes []route.Route) []route.Route {
	var some []route.Route
	for _, r := range routes {
		switch handler {
		case handlerAll, r.Name:
			some = append(some, r)
		case handlerUnknown:
			// It knows all patterns, to tell a wrong method from a wrong path. A
			// request that fits one all the same is a HEAD, which gateways do not
			// count as GET.
			r.Auth, r.Limit = route.Public, route.NoLimit
			r.Also = r.Patterns()[1:] // those that follow from the handler as well
			r.Handler = route.Raw(home.About, serveUnknown)
			some = append(some, r)
		}
	}
	return some
}

func serveUnknown(_ context.Context, _ *home.Self, _ route.Caller, w http.ResponseWriter, r *http.Request) error {
	w.WriteHeader(http.StatusMethodNotAllowed)
	return nil
}

// worker makes an invocation of whatever starts the worker.
func worker(rt *route.Runtime, w route.Worker, at aws.Options) (aws.Invocation, error) {
	switch w.On.(type) {
	case store.ChangeStream:
		return aws.Changes(func(ctx context.Context, cs []store.Change) error { return rt.RunChanges(ctx, w, cs) }), nil
	case *queue.Queue:
		return aws.Messages(rt.Log, func(ctx context.Context, m queue.Message) error { return rt.RunMessage(ctx, w, m) }), nil
	case route.Every:
		return aws.Timer(func(ctx context.Context) error { return rt.RunTimer(ctx, w) }), nil
	case route.Life:
		return aws.Provider(rt.Log, at), nil
	}
	return nil, fmt.Errorf("the worker %s is started by %s, for which there is nothing on AWS", w.Name, w.On)
}

// lambdaWords names the time as Lambda looks for it; it would take a line
// without one for INFO, and filter errors away with the rest.
func lambdaWords(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		a.Key = "timestamp"
	}
	return a
}
