// Command bench measures what users do all day against a local server in a
// process of its own, and writes results.md.
//
//	go run ./tests/bench            # some minutes
//	go run ./tests/bench -short     # a look
//	go run ./tests/bench -explain "leave of 2nd member"
//
// Times are those of clients on the same machine. The server runs as a user
// would run it, without rate limits, on the disk that has the temporary folder;
// passwords are hashed as for people only where the act is about them. A crowd
// is several clients, each with users and rooms of its own. An act is done when
// its request is answered; the server's CPU time also has what the workers do
// after that.
//
// Units are DynamoDB's. Those in the table of times are the mean of what the
// server logged for the requests; those in the table of units are of the same
// server inside this program, where the workers run between the requests, so
// that they are the same in each run and can be compared with the budgets of the
// data model. A budget of reads is for the request; one of writes is for all
// that follows from it. Cold is a server that has just started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
)

func main() {
	var o options
	flag.IntVar(&o.n, "n", 200, "how often each act is done")
	flag.BoolVar(&o.short, "short", false, "do little, for a look")
	flag.StringVar(&o.out, "out", "", "the file to write besides standard output, such as tests/bench/results.md")
	flag.StringVar(&o.explain, "explain", "", "print the store calls of an act instead of measuring; \"all\" is all of them")
	flag.StringVar(&o.act, "act", "", "measure only the acts whose name has this in it")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := bench(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	n       int
	short   bool
	out     string
	explain string
	act     string
}

func bench(ctx context.Context, o options, out, progress io.Writer) error {
	if o.explain != "" {
		return explain(o.explain, out)
	}
	r := &report{n: o.n, runs: 9}
	if o.short {
		r.n, r.runs = min(o.n, 20), 3
	}
	dir, err := os.MkdirTemp("", "virga-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintln(progress, "building the server")
	bin, err := build(ctx, dir)
	if err != nil {
		return err
	}
	for i := range acts {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !strings.Contains(acts[i].name, o.act) {
			continue
		}
		fmt.Fprintln(progress, acts[i].name)
		x, err := both(bin, &acts[i], r.n)
		if err != nil {
			return err
		}
		r.results = append(r.results, x)
	}
	if o.act != "" {
		return r.write(out)
	}
	fmt.Fprintln(progress, "starting and idling")
	if r.start, err = starts(bin, r.runs); err != nil {
		return err
	}
	if r.busy, r.idle, err = memory(bin, min(r.runs, 5)); err != nil {
		return err
	}
	if err := r.write(out); err != nil || o.out == "" {
		return err
	}
	f, err := os.Create(o.out)
	if err != nil {
		return err
	}
	return errors.Join(r.write(f), f.Close())
}

// both measures the time and the units of an act. Each act has a server of its
// own, so that none finds what another left.
func both(bin string, a *act, n int) (x result, err error) {
	x.act = a
	if !a.unitless {
		if x.consumption, err = consume(a); err != nil {
			return x, err
		}
	}
	if a.untimed {
		return x, nil
	}
	flags := []string{"-password-cost", "min"}
	if a.password {
		n, flags = max(crowd, n/10), nil
	}
	if a.rare > 0 {
		n = max(crowd, n/a.rare)
	}
	c, err := start(bin, flags...)
	if err != nil {
		return x, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if x.timing, err = measure(c, a, n); err != nil {
		return x, fmt.Errorf("%w\n%s", err, c.complaints())
	}
	return x, nil
}

func explain(name string, out io.Writer) error {
	names := []string{}
	for i := range acts {
		a := &acts[i]
		names = append(names, a.name)
		if a.unitless || name != "all" && name != a.name {
			continue
		}
		c, err := consume(a)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s RU, %s WU; workers %s RU, %s WU\n%s", a.name,
			units(c.warm.reads), units(c.warm.writes), units(c.warm.workReads), units(c.warm.workWrites), c.explanation)
	}
	if name != "all" && !slices.Contains(names, name) {
		return fmt.Errorf("%q is none of %q", name, names)
	}
	return nil
}
