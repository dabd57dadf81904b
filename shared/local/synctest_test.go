package local_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
)

// Under synctest the machine's clock is virtual and Local needs no other.

func TestExpiredItemsAreSwept(t *testing.T) {
	for range 2 { // more than one bubble
		synctest.Test(t, func(t *testing.T) {
			ctx := all(t.Context())
			l := open(t, local.Options{})
			var expired, changed atomic.Int64
			go l.Follow(ctx, store.Rooms.Changes(), "f", func(_ context.Context, cs []store.Change) error {
				for _, c := range cs {
					if c.Expired {
						expired.Add(1)
					} else {
						changed.Add(1)
					}
				}
				return nil
			})
			key := func(sort string) store.Key { return store.Key{Part: "p\x00q", Sort: sort} }
			write := func(w store.Write) {
				t.Helper()
				if _, err := l.DB().Write(ctx, w); err != nil {
					t.Fatal(err)
				}
			}
			exists := func(sort string) bool {
				t.Helper()
				_, err := l.DB().Get(ctx, store.Ref{Table: store.Rooms, Key: key(sort)}, store.Consistent)
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Fatal(err)
				}
				return err == nil
			}
			in := func(d time.Duration) time.Time { return time.Now().Add(d) }
			write(store.Put(store.Rooms, key("hour"), nil).Until(in(time.Hour)))
			write(store.Put(store.Rooms, key("day"), nil).Until(in(24 * time.Hour)))
			write(store.Put(store.Rooms, key("longer"), nil).Until(in(time.Hour)))
			write(store.Update(store.Rooms, key("longer")).Until(in(2 * time.Hour)))
			write(store.Put(store.Rooms, key("forever"), nil).Until(in(time.Hour)))
			write(store.Put(store.Rooms, key("forever"), nil))
			write(store.Put(store.Rooms, key("past"), nil).Until(in(-time.Hour)))
			if !exists("past") {
				t.Error("an expired item is readable until it is swept")
			}
			time.Sleep(time.Hour + 2*time.Minute)
			synctest.Wait()
			for sort, want := range map[string]bool{"hour": false, "past": false, "day": true, "longer": true, "forever": true} {
				if exists(sort) != want {
					t.Errorf("after an hour: %s exists is %v", sort, !want)
				}
			}
			if err := l.Settled(ctx); err != nil {
				t.Fatal(err)
			}
			if expired.Load() != 2 || changed.Load() != 7 {
				t.Errorf("%d expiries and %d changes", expired.Load(), changed.Load())
			}
			time.Sleep(25 * time.Hour)
			if exists("day") || exists("longer") || !exists("forever") {
				t.Error("after a day")
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestManyExpire(t *testing.T) {
	l := open(t, local.Options{NoSync: true})
	ctx := all(t.Context())
	for i := range 250 {
		w := store.Put(store.Users, store.Key{Part: "p", Sort: string(rune('A' + i))}, nil).Until(time.Now().Add(-time.Minute))
		if _, err := l.DB().Write(ctx, w); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Sweep(); err != nil {
		t.Fatal(err)
	}
	if page, err := l.DB().Query(ctx, store.Query{Table: store.Users, Part: "p"}); err != nil || len(page.Items) > 0 {
		t.Errorf("%d items are left, %v", len(page.Items), err)
	}
}

func TestDelayOfFifteenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, local.Options{})
		ctx := all(t.Context())
		start := time.Now()
		var after atomic.Int64
		go l.Consume(ctx, queue.Work, func(_ context.Context, ms []queue.Message) error {
			after.Store(int64(time.Since(start)))
			return nil
		})
		synctest.Wait()
		if err := l.Queues().Send(ctx, queue.Work, queue.Message{Body: "x", Delay: queue.MaxDelay}); err != nil {
			t.Fatal(err)
		}
		if err := l.Settled(ctx); err != nil || after.Load() != 0 {
			t.Errorf("settled waits for a delay: %v", err)
		}
		time.Sleep(queue.MaxDelay + time.Second)
		synctest.Wait()
		if after := time.Duration(after.Load()); after != queue.MaxDelay {
			t.Errorf("delivered after %s", after)
		}
		l.Close()
	})
}

func TestDuplicatesAreForgottenAfterFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := local.NewMemory()
		l := open(t, disk.Options())
		ctx := all(t.Context())
		var got atomic.Int64
		consume := func() {
			go l.Consume(ctx, queue.Inbound, func(_ context.Context, ms []queue.Message) error {
				got.Add(int64(len(ms)))
				return nil
			})
			synctest.Wait()
		}
		consume()
		send := func(want int64) {
			t.Helper()
			if err := l.Queues().Send(ctx, queue.Inbound, queue.Message{Body: "x", Group: "g", Dedup: "d"}); err != nil {
				t.Fatal(err)
			}
			if err := l.Settled(ctx); err != nil || got.Load() != want {
				t.Errorf("%d messages were delivered, want %d, %v", got.Load(), want, err)
			}
		}
		send(1)
		time.Sleep(4 * time.Minute)
		send(1)
		l.Close()
		l = open(t, disk.Options())
		consume()
		send(1) // remembered across a restart
		time.Sleep(2 * time.Minute)
		send(2)
		l.Close()
	})
}

func TestDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := local.NewMemory()
		opt := disk.Options()
		opt.MaxAttempts = 4
		l := open(t, opt)
		ctx := all(t.Context())
		var attempts []int
		var times []time.Duration
		start := time.Now()
		var after atomic.Int64
		go l.Consume(ctx, queue.Inbound, func(_ context.Context, ms []queue.Message) error {
			for _, m := range ms {
				if m.Body == "poison" {
					attempts = append(attempts, m.Attempt)
					times = append(times, time.Since(start))
					return errors.New("cannot")
				}
				after.Add(1)
			}
			return nil
		})
		synctest.Wait()
		for _, body := range []string{"poison", "good", "better"} {
			if err := l.Queues().Send(ctx, queue.Inbound, queue.Message{Body: body, Group: "g", Dedup: body}); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Settled(ctx); err != nil {
			t.Fatal(err)
		}
		if len(attempts) != 4 || attempts[3] != 4 || after.Load() != 2 {
			t.Errorf("attempts %v, and %d after it", attempts, after.Load())
		}
		if len(times) == 4 && (times[1] != time.Second || times[2] != 3*time.Second || times[3] != 7*time.Second) {
			t.Errorf("deliveries after %v", times)
		}
		l.Close()
		l = open(t, disk.Options())
		dead, err := l.DeadLetters(queue.Inbound)
		if err != nil || len(dead) != 1 || dead[0].Body != "poison" || dead[0].Attempt != 4 {
			t.Errorf("dead letters %v, %v", dead, err)
		}
		l.Close()
	})
}

// TestStoppingMakesNoDeadLetters interrupts a handler again and again.
func TestStoppingMakesNoDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := local.NewMemory().Options()
		opt.MaxAttempts = 2
		l := open(t, opt)
		defer l.Close()
		ctx := all(t.Context())
		if err := l.Queues().Send(ctx, queue.Work, queue.Message{Body: "x"}); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			short, cancel := context.WithTimeout(ctx, time.Hour)
			err := l.Consume(short, queue.Work, func(ctx context.Context, _ []queue.Message) error {
				<-ctx.Done()
				return ctx.Err()
			})
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("consume: %v", err)
			}
		}
		if dead, err := l.DeadLetters(queue.Work); err != nil || len(dead) > 0 {
			t.Errorf("dead letters %v, %v", dead, err)
		}
	})
}
