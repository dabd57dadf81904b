package timeline

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

func TestWhatIsDoneAtOnceIsPutInOrder(t *testing.T) {
	var list, got []int
	for i := range 100 {
		list = append(list, i)
	}
	var held, most atomic.Int64
	double := func(_ context.Context, i int) (int, error) {
		if n := held.Add(1); n > most.Load() {
			most.Store(n)
		}
		return 2 * i, nil
	}
	err := inOrder(t.Context(), list, double, func(i, twice int) error {
		held.Add(-1)
		if twice != 2*i {
			t.Errorf("%d is given with %d", i, twice)
		}
		got = append(got, i)
		return nil
	})
	if err != nil || !slices.Equal(got, list) || most.Load() > width {
		t.Errorf("%v, %v, and %d were held", got, err, most.Load())
	}
}

func TestAnErrorOfOneEndsAll(t *testing.T) {
	list := slices.Repeat([]int{0}, 50)
	gone := errors.New("gone")
	put := func(int, int) error { return nil }
	for name, do := range map[string]func() error{
		"do":  func() error { return gone },
		"bug": func() error { panic("a bug") },
	} {
		fails := func(context.Context, int) (int, error) { return 0, do() }
		for _, err := range []error{
			inOrder(t.Context(), list, fails, put),
			parallel(t.Context(), list, func(context.Context, int) error { return do() }),
		} {
			if err == nil || name == "do" && !errors.Is(err, gone) || name == "bug" && !strings.Contains(err.Error(), "a bug") {
				t.Errorf("%s: error is %v", name, err)
			}
		}
	}
	n := 0
	fine := func(context.Context, int) (int, error) { return 0, nil }
	if err := inOrder(t.Context(), list, fine, func(int, int) error { n++; return gone }); !errors.Is(err, gone) || n != 1 {
		t.Errorf("put %d times, with error %v", n, err)
	}
}
