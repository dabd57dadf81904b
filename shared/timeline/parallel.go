package timeline

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// width is how many of a user's rooms are looked at at a time.
const width = 8

// parallel does something for each of a user's rooms, a few at a time: on a
// remote store it is mostly waiting.
func parallel[T any](ctx context.Context, list []T, do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	slots := make(chan struct{}, width)
	for _, x := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			if err := safely(func() error { return do(ctx, x) }); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// inOrder is parallel for what is put out in the order of the list. No more than
// width results are held at a time.
func inOrder[T, R any](ctx context.Context, list []T, do func(context.Context, T) (R, error), put func(T, R) error) error {
	type result struct {
		value R
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	results := make([]chan result, min(width, len(list))) // a ring
	start := func(i int) {
		c := make(chan result, 1)
		results[i%width] = c
		wg.Go(func() {
			var r result
			r.err = safely(func() (err error) {
				r.value, err = do(ctx, list[i])
				return err
			})
			c <- r
		})
	}
	for i := range results {
		start(i)
	}
	for i, x := range list {
		r := <-results[i%width]
		if r.err == nil {
			r.err = put(x, r.value)
		}
		if r.err != nil {
			return r.err
		}
		if i+width < len(list) {
			start(i + width)
		}
	}
	return nil
}

// safely makes a panic an error, as it is where the request began: from a goroutine
// of its own it would end the whole process.
func safely(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}
