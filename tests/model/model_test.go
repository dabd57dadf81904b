// Package model lets two dozen clients of a dozen people do what people do, all at
// once and at random, of three processes on one store that throttles, loses and
// repeats changes, and is killed again and again. In the end each client holds what
// it made of its answers against the server: each event there once and in the one
// order of the room, the state and the members, receipts, account data and counts.
//
// What each client does follows from the seed; what comes of it, also from how
// their requests fall. A seed that fails is run again with
//
//	VIRGA_MODEL_SEED=7 go test -count=20 -failfast ./tests/model
//
// and VIRGA_MODEL_SECONDS=600 tries seeds for that long.
package model

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// people are the users; each has two devices. The first three are of weight.
var people = []string{
	"@u0:test", "@u1:test", "@u2:test", "@u3:test", "@u4:test", "@u5:test",
	"@u6:test", "@u7:test", "@u8:test", "@u9:test", "@u10:test", "@u11:test",
}

func TestClientsKnowWhatTheServerKnows(t *testing.T) {
	if s := os.Getenv("VIRGA_MODEL_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		simulate(t, seed)
		return
	}
	begin, first, last, lasts := time.Now(), uint64(0), uint64(1), 10
	if s := os.Getenv("VIRGA_MODEL_SECONDS"); s != "" {
		lasts, _ = strconv.Atoi(s)
		first, last = uint64(begin.Unix()), math.MaxUint64 // others than the last time
	}
	for seed := first; seed <= last && (seed == first || time.Since(begin) < time.Duration(lasts)*time.Second); seed++ {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { simulate(t, seed) }) {
			return
		}
	}
}

func simulate(t *testing.T, seed uint64) {
	w := newWorld(t, seed)
	defer func() { _ = w.life.proc.Close() }()
	devices := w.meet()
	r := rand.New(rand.NewPCG(seed, 1))
	lives := uint64(0)
	for phase := range 2 {
		w.life.faulty.Store(true)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-w.life.killed:
				case <-stop:
					return
				}
				lives++
				w.restart(lives, true)
			}
		}()
		var wg sync.WaitGroup
		errs := make([]error, len(devices))
		for i, d := range devices {
			wg.Go(func() { errs[i] = d.live(w.plan.acts) })
		}
		wg.Wait()
		close(stop)
		<-stopped
		for i, err := range errs {
			if err != nil {
				t.Errorf("%s: %v\nit did:\n%s", devices[i].name, err, strings.Join(devices[i].recent, "\n"))
			}
		}
		if t.Failed() {
			w.fatalf("phase %d", phase)
		}
		w.life.faulty.Store(false)
		if w.life.proc.Store.Settled(w.ctx) != nil || r.IntN(2) == 0 {
			lives++
			w.restart(lives, false)
		}
		// Nobody is active after a day, and nothing is left of the logs after a month.
		switch r.IntN(6) {
		case 0:
			w.outage = true
			w.clock.pass(25 * time.Hour)
		case 1:
			w.quiet()
			w.clock.pass(25 * time.Hour)
		case 2:
			w.quiet()
			w.clock.pass(31 * 24 * time.Hour)
			w.quiet()
			w.month = true
		}
	}
	w.quiet()
	w.check(devices)
	t.Logf("seed %d: %+v, %d lives, an outage %t, a month %t; %v", seed, w.plan, lives+1, w.outage, w.month, w.known.acted)
	if t.Failed() {
		w.fatalf("see above")
	}
}

// meet makes the people and their rooms.
func (w *world) meet() (devices []*device) {
	w.t.Helper()
	r := rand.New(rand.NewPCG(w.seed, 2))
	for i := range 2 * len(people) {
		user := people[i/2]
		d := &device{
			w: w, name: fmt.Sprintf("%s%c", user[1:len(user)-len(":test")], 'a'+i%2), user: user,
			r: rand.New(rand.NewPCG(w.seed, 100+uint64(i))), sent: map[string]string{},
			after: r.IntN(2) == 0, lazy: r.IntN(2) == 0, leaves: r.IntN(3) == 0, late: r.IntN(3) == 0, threads: r.IntN(2) == 0,
			limit: []int{1, 3, 10, 60}[r.IntN(4)],
		}
		d.bounded = !d.late && r.IntN(2) == 0
		d.forget()
		body := map[string]any{"username": user[1 : len(user)-len(":test")], "password": "a password", "auth": map[string]string{"type": "m.login.dummy"}}
		path := v3 + "register"
		if i%2 == 1 {
			path, body = v3+"login", map[string]any{"type": "m.login.password", "password": "a password", "identifier": map[string]string{"type": "m.id.user", "user": user}}
		}
		a, err := d.do("POST", path, body)
		var session struct {
			Token  string `json:"access_token"`
			Device string `json:"device_id"`
		}
		if err != nil || !a.ok() || a.into(&session) != nil {
			w.fatalf("%s: %v %d %s", path, err, a.status, a.body)
		}
		d.token, d.id = session.Token, session.Device
		devices = append(devices, d)
	}
	for i, c := range []struct{ preset, rule, visibility, version string }{
		{"public_chat", "public", "shared", "12"},
		{"public_chat", "public", "joined", "11"},
		{"private_chat", "invite", "invited", "12"},
		{"public_chat", "public", "world_readable", "10"},
		{"private_chat", "knock", "shared", "11"},
		{"public_chat", "public", "shared", "12"},
	} {
		if w.plan.churn && uint64(i/2) != w.seed%3 {
			continue
		}
		d := devices[2*(i%3)]
		levels := map[string]any{"@u0:test": 100, "@u1:test": 100, "@u2:test": 100, "@u3:test": 50}
		if c.version == "12" {
			delete(levels, d.user) // creators have all power
		}
		ok, err := d.createRoom(map[string]any{
			"preset": c.preset, "room_version": c.version, "invite": invited(d.user),
			"initial_state": []map[string]any{
				{"type": "m.room.history_visibility", "content": map[string]string{"history_visibility": c.visibility}},
				{"type": "m.room.join_rules", "content": map[string]string{"join_rule": c.rule}},
			},
			"power_level_content_override": map[string]any{"users": levels, "state_default": 0, "invite": 0, "events": map[string]int{
				"m.room.power_levels": 50, "m.room.history_visibility": 50, "m.room.join_rules": 100,
			}},
		})
		if err != nil || !ok {
			w.fatalf("create: %v", err)
		}
	}
	return devices
}

func sorted[M ~map[string]V, V any](m M) []string { return slices.Sorted(maps.Keys(m)) }

// invited are those whom a room begins with, beside its creator.
func invited(creator string) []string {
	return slices.DeleteFunc(slices.Clone(people[:5]), func(user string) bool { return user == creator })
}
