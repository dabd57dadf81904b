package rooms_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// lagging lists the rooms whose fan-out is not done.
func (s *server) lagging(list []string) (lag []string) {
	s.t.Helper()
	for _, room := range list {
		head, err := s.timeline.Head(s.ctx, room)
		s.ok(err)
		it, _ := s.store.DB().Get(s.ctx, store.Ref{Table: store.Server, Key: store.Key{Part: "FAN#" + room, Sort: "FAN"}}, store.Consistent)
		if timeline.Pos(it.Int("done")) != head.Pos {
			lag = append(lag, room)
		}
	}
	return lag
}

func (s *server) createMany(n int) (list []string) {
	s.t.Helper()
	alice := s.register("alice")
	for range n {
		list = append(list, s.create(rooms.Creation{Creator: alice, Version: "11"}))
	}
	return list
}

// A room that cannot be told must not keep the others from being told.
func TestASweepPassesByARoomThatFails(t *testing.T) {
	var stuck atomic.Value
	stuck.Store("none")
	opt := local.NewMemory().Options()
	opt.Fault = func(c local.Call) local.Fault {
		if c.Writes && len(c.Refs) > 0 && c.Refs[0].Key.Part == "FAN#"+stuck.Load().(string) {
			return local.Throttle
		}
		return local.NoFault
	}
	s := open(t, opt)
	list := s.createMany(20)
	stuck.Store(list[7])
	if err := s.rooms.SweepFanOut(s.ctx); err == nil {
		t.Error("a room that could not be told is no error")
	}
	if lag := s.lagging(list); len(lag) != 1 || lag[0] != list[7] {
		t.Errorf("%d rooms lag, not only %s", len(lag), list[7])
	}
	stuck.Store("none")
	s.ok(s.rooms.SweepFanOut(s.ctx))
	if lag := s.lagging(list); len(lag) > 0 {
		t.Errorf("%v lag after the next round", lag)
	}
}

// hasty is a clock of which a sweep sees a minute pass with each page it reads.
type hasty struct{ pages atomic.Int64 }

func (h *hasty) Now() time.Time {
	return time.Now().UTC().Add(time.Duration(h.pages.Load()) * time.Minute)
}
func (h *hasty) After(d time.Duration) <-chan time.Time { return time.After(d) }

// A run whose time is up leaves the rest to the next one, which goes on there.
func TestASweepGoesOnWhereItStopped(t *testing.T) {
	opt, h := local.NewMemory().Options(), new(hasty)
	opt.Fault = func(c local.Call) local.Fault {
		if c.Op == local.OpQuery && strings.HasPrefix(c.Refs[0].Key.Part, "ROOMS#") {
			h.pages.Add(1)
		}
		return local.NoFault
	}
	s := open(t, opt)
	list := s.createMany(40)
	s.rooms.Clock = h
	before, runs := len(list), 0
	for ; before > 0 && runs < 20; runs++ {
		pages := h.pages.Load()
		s.ok(s.rooms.SweepFanOut(s.ctx))
		if n := h.pages.Load() - pages; n != 1 {
			t.Fatalf("a run read %d pages", n)
		}
		before = len(s.lagging(list))
	}
	if runs == 1 || before > 0 {
		t.Errorf("after %d runs %d rooms lag", runs, before)
	}
}
