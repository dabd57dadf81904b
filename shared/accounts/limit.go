package accounts

import (
	"context"
	"time"

	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// limit is how many attempts are let through in a window that begins with the
// first of them. The counts are in the store, because every function has a
// memory of its own.
type limit struct {
	name     string
	attempts int64
	window   time.Duration
}

var (
	// loginFailures is by user, and against guessing passwords.
	loginFailures = limit{"login", 10, 5 * time.Minute}
	// registrations is by address, and against filling the server with accounts.
	registrations = limit{"register", 60, time.Hour}
)

func (l limit) key(who string) store.Key {
	return store.Key{Part: "F#" + l.name + "#" + who, Sort: "F"}
}

// count counts an attempt before it is made, so that many at once are not more
// than many in a row. It is M_LIMIT_EXCEEDED if there were too many.
func (s *Service) count(ctx context.Context, l limit, who string) error {
	if s.opt.NoLimits {
		return nil
	}
	now := s.opt.Clock.Now()
	until := now.Add(l.window)
	for {
		err := s.write(ctx, store.Update(store.Tokens, l.key(who)).Add("n", 1).
			If(store.Less("n", l.attempts), store.Greater("until", millis(now))))
		f := store.Failed(err)
		if f == nil {
			return err
		}
		was := f.Failed[0]
		if was.Exists() && was.Int("until") > millis(now) {
			return mxerr.LimitExceeded(time.UnixMilli(was.Int("until")).Sub(now))
		}
		// There is no window, or it has ended: begin one. Its row lives a little
		// longer than it counts.
		w := store.Put(store.Tokens, l.key(who), store.Attrs{"n": int64(1), "until": millis(until)}).Until(until.Add(time.Minute))
		if was.Exists() {
			w = w.If(store.Equal("until", was.Int("until")))
		} else {
			w = w.If(store.NotExists())
		}
		if err := s.write(ctx, w); store.Failed(err) == nil {
			return err
		}
	}
}

// forget ends the window: what was counted was no failure after all.
func (s *Service) forget(ctx context.Context, l limit, who string) error {
	if s.opt.NoLimits {
		return nil
	}
	err := s.write(ctx, store.Delete(store.Tokens, l.key(who)))
	return err
}
