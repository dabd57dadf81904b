package route

import (
	"context"
	"io"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-im/virga/shared/wake"
)

// sleeper wakes nobody: its waits end when their time is up.
type sleeper struct{ waits int }

func (s *sleeper) Wake(context.Context, ...string) error { return nil }

func (s *sleeper) Arm(_ context.Context, w wake.Wait) (wake.Ticket, error) {
	return &sleeperTicket{s, w.Until}, nil
}

type sleeperTicket struct {
	s     *sleeper
	until time.Time
}

func (k *sleeperTicket) Hold(context.Context) (wake.Outcome, error) {
	k.s.waits++
	time.Sleep(time.Until(k.until))
	return wake.Outcome{}, nil
}

func (k *sleeperTicket) Release() {}

// ripening has something to tell at a time that it knows.
type ripening struct {
	Ripe bool
	at   time.Time
}

func (r *ripening) LooksAgain() time.Time { return r.at }

func TestAPollLooksAgainWhenItSaidSo(t *testing.T) {
	for _, c := range []struct{ ripe, wait, want time.Duration }{
		{4 * time.Second, 30 * time.Second, 4 * time.Second},
		{40 * time.Second, 30 * time.Second, 30 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			start, s := time.Now(), new(sleeper)
			poll := Route{Name: "poll", Pattern: "GET /poll", Handler: Poll(none,
				func(context.Context, *nothing, Caller, *waitRequest) (*ripening, bool, error) {
					// Before the time is known, another that brings nothing.
					switch since := time.Since(start); {
					case since < time.Second:
						return &ripening{at: start.Add(time.Second)}, false, nil
					case since < c.ripe:
						return &ripening{at: start.Add(c.ripe)}, false, nil
					}
					return &ripening{Ripe: true}, true, nil
				})}
			w := httptest.NewRecorder()
			serve(t, s, io.Discard, poll).ServeHTTP(w, httptest.NewRequest("GET", "/poll?timeout=30000", nil))
			if took := time.Since(start); took != c.want || s.waits > 2 {
				t.Errorf("ripe after %s: answered %s after %s and %d waits", c.ripe, w.Body, took, s.waits)
			}
		})
	}
}
