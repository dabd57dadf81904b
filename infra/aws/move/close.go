package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/archive"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/account"
)

// each does something for each function of a stack, some at a time: Lambda lets such
// changes be made fifteen times a second.
func each(ctx context.Context, at *account.Account, stack string, do func(account.Function) error) ([]account.Function, error) {
	functions, err := at.Functions(ctx, stack+"_")
	if err != nil {
		return nil, fmt.Errorf("list the functions of %s: %w", stack, err)
	}
	if len(functions) == 0 {
		return nil, fmt.Errorf("there are no functions of a stack %s in %s: -stack names it, AWS_REGION where it is", stack, at.Region())
	}
	var mu sync.Mutex
	var errs []error
	var work sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, f := range functions {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			if err := do(f); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("%s: %w", f.Name, err))
			}
		})
	}
	work.Wait()
	if n := len(errs); n > 3 { // they have one cause
		errs = append(errs[:3], fmt.Errorf("and %d more", n-3))
	}
	return functions, errors.Join(errs...)
}

// closed closes the stack. What comes out of streams and queues is kept from functions
// first: one that is not let run fails, and messages that fail are put aside.
func closed(ctx context.Context, at *account.Account, stack string) error {
	if err := triggers(ctx, at, stack, "Disabled"); err != nil {
		return err
	}
	functions, err := each(ctx, at, stack, func(f account.Function) error { return at.Stop(ctx, f.Name) })
	if err != nil {
		return err
	}
	longest := 0
	for _, f := range functions {
		longest = max(longest, f.Timeout)
	}
	if longest > 0 {
		fmt.Fprintf(os.Stderr, "%d functions are closed; those that run now end within %d s\n", len(functions), longest)
	}
	select {
	case <-time.After(time.Duration(longest) * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	fmt.Fprintf(os.Stderr, "nobody reads or writes %s since %s\n", stack, time.Now().UTC().Format(time.RFC3339))
	return nil
}

// lookEvery is how often it is asked whether a trigger has changed.
var lookEvery = 5 * time.Second

// triggers brings all triggers of a stack into a state, and waits until they are in it.
func triggers(ctx context.Context, at *account.Account, stack, state string) error {
	for round := 0; ; round++ {
		all, err := at.Triggers(ctx, stack+"_")
		if err != nil {
			return fmt.Errorf("list what starts the functions of %s: %w", stack, err)
		}
		left := 0
		for _, t := range all {
			if t.State == state {
				continue
			}
			if left++; round == 0 {
				if err := at.Enable(ctx, t.ID, state == "Enabled"); err != nil {
					return fmt.Errorf("change what starts %s: %w", t.Function, err)
				}
			}
		}
		if left == 0 {
			return nil
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// isClosed returns an error unless no function of the stack can run.
func isClosed(ctx context.Context, at *account.Account, stack string) error {
	all, err := at.Triggers(ctx, stack+"_")
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.State != "Disabled" {
			err = fmt.Errorf("what starts %s is %s", t.Function, t.State)
		}
	}
	_, running := each(ctx, at, stack, func(f account.Function) error {
		stopped, err := at.Stopped(ctx, f.Name)
		if err == nil && !stopped {
			err = errors.New("it can run")
		}
		return err
	})
	if err = errors.Join(err, running); err != nil {
		return fmt.Errorf("the stack must be closed first: go run ./infra/aws/move close -stack %s\n%w", stack, err)
	}
	return nil
}

// opened is at the end of the description of functions that were opened.
const opened = " (opened "

// open ends that the stack is closed. Processes from before remember what may not be
// so any more, so all of them are new.
func open(ctx context.Context, at *account.Account, stack string) error {
	begun, err := archive.Begun(ctx, aws.NewDB(aws.Options{Stack: stack, Config: account.LoadConfig()}))
	if err != nil {
		return err
	}
	if begun != "" {
		return fmt.Errorf("what began in %s did not end (%s): do it again first, until it succeeds", stack, begun)
	}
	functions, err := each(ctx, at, stack, func(f account.Function) error {
		about, _, _ := strings.Cut(f.Description, opened)
		mark := opened + time.Now().UTC().Format(time.RFC3339Nano) + ")"
		about = strings.ToValidUTF8(about[:min(len(about), maxDescription-len(mark))], "")
		if err := at.Describe(ctx, f.Name, about+mark); err != nil {
			return err
		}
		return at.Start(ctx, f.Name)
	})
	if err != nil {
		return err
	}
	if err := triggers(ctx, at, stack, "Enabled"); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d functions of %s are open\n", len(functions), stack)
	return nil
}

// maxDescription is what Lambda keeps of a description.
const maxDescription = 256
