// Package grants proves that what routes and workers declare to touch is what
// they touch: no less, or a role on AWS would refuse a request that works here;
// and no more, or a function would hold rights that it never uses.
package grants

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/events/receipt"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/infra/local/process"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/rooms/roomstest"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
	"github.com/virga-im/virga/shared/userlog"
	"github.com/virga-im/virga/tests/scripts"
	"github.com/virga-im/virga/tests/server"
)

// TestGrantsAreWhatIsUsed runs all scripts in process and looks at what the
// stores recorded.
func TestGrantsAreWhatIsUsed(t *testing.T) {
	files, err := filepath.Glob("../scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var rec grant.Recorder
	var mu sync.Mutex
	called := map[string]bool{}
	play := func(t *testing.T) {
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
				t.Parallel()
				s, err := scripts.Parse(file)
				if err != nil {
					t.Fatal(err)
				}
				in := server.InProcess(t, func(o *process.Options) {
					o.Recorder = &rec
					o.OnRequest = func(name string, _ int, _ time.Duration, _ store.Capacity) {
						mu.Lock()
						defer mu.Unlock()
						called[name] = true
					}
				}, s.Flags...)
				s.Run(t, inside{in}, "localhost")
				finish(t, in.Process)
			})
		}
	}
	t.Run("abandoned creation", func(t *testing.T) {
		in := server.InProcess(t, func(o *process.Options) { o.Recorder = &rec })
		abandon(t, in.Process)
		finish(t, in.Process)
	})
	t.Run("lost changes", func(t *testing.T) {
		in := server.InProcess(t, func(o *process.Options) {
			o.Recorder = &rec
			o.Store.Lose = func(store.Change) bool { return true }
		})
		talk(t, in.URL)
		finish(t, in.Process)
	})
	t.Run("somebody who cannot decide", func(t *testing.T) {
		in := server.InProcess(t, func(o *process.Options) { o.Recorder = &rec }, "-presence", "on")
		tokens, _ := talk(t, in.URL)
		for i := range 30 { // until telling it is put off
			do(t, in.URL, tokens[0], "PUT", "/presence/@alice:localhost/status", fmt.Sprintf(`{"presence":"online","status_msg":"%d"}`, i))
			finish(t, in.Process)
		}
	})
	t.Run("pulled room", func(t *testing.T) {
		clock := new(ahead)
		in := server.InProcess(t, func(o *process.Options) {
			o.Recorder = &rec
			o.Adjust = func(s *home.Server) { s.Rooms.PullAbove = 1 }
			o.Store.Clock = clock
		})
		tokens, room := talk(t, in.URL)
		finish(t, in.Process)
		clock.by.Add(int64(2 * time.Hour)) // then a device asks whether it still has to look
		do(t, in.URL, tokens[1], "GET", "/sync", "")
		clock.by.Add(int64(2 * time.Hour))
		do(t, in.URL, tokens[1], "GET", "/events", "")
		litter(t, in.Process, room)
		clock.by.Add(int64(8 * 24 * time.Hour))
		finish(t, in.Process)
	})
	t.Run("somebody who was away", func(t *testing.T) {
		clock := new(ahead)
		in := server.InProcess(t, func(o *process.Options) {
			o.Recorder = &rec
			o.Store.Clock = clock
		})
		tokens, room := talk(t, in.URL)
		for i, back := range []string{"/events", "/initialSync"} {
			clock.by.Add(int64(25 * time.Hour))
			do(t, in.URL, tokens[1], "PUT", fmt.Sprintf("/rooms/%s/send/m.room.message/away%d", room, i), `{"msgtype":"m.text","body":"Are you there?"}`)
			finish(t, in.Process)
			do(t, in.URL, tokens[0], "GET", back, "")
		}
	})
	t.Run("interrupted deactivation", func(t *testing.T) {
		clock := new(ahead)
		var srv *home.Server
		in := server.InProcess(t, func(o *process.Options) {
			o.Recorder = &rec
			o.Adjust = func(s *home.Server) { srv = s }
			o.Store.Clock = clock
			o.Store.Lose = func(store.Change) bool { return true } // or the fan-out may be faster
		})
		talk(t, in.URL)
		ctx := grant.With(t.Context(), "a dying request", grant.WriteTable("users", "server"), nil)
		if _, err := srv.Accounts.Deactivate(ctx, "@alice:localhost", true); err != nil {
			t.Fatal(err)
		}
		clock.by.Add(int64(time.Hour))
		finish(t, in.Process)
	})
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("forks, changes lost: %v", lost), func(t *testing.T) {
			var srv *home.Server
			in := server.InProcess(t, func(o *process.Options) {
				o.Recorder = &rec
				o.Adjust = func(s *home.Server) { srv = s }
				o.Store.Lose = func(store.Change) bool { return lost }
			})
			fork(t, srv)
			finish(t, in.Process)
		})
	}
	// A request and the worker behind it do some writes in whichever order they
	// come, and the second finds them done. So what was not used in one round is
	// given others.
	var never []string
	for round := range 5 {
		t.Run(fmt.Sprintf("round %d", round+1), play)
		if t.Failed() {
			return // what follows from it would only hide why
		}
		if never = unused(&rec); len(never) == 0 {
			break
		}
	}
	for _, n := range never {
		t.Error(n)
	}
	for _, d := range rec.Denials() {
		t.Error(d)
	}
	for _, r := range api.Routes() {
		if !called[r.Name] {
			t.Errorf("no script calls %s (%s)", r.Name, r.Pattern)
		}
	}
}

// unused says which grants were declared and not used so far.
func unused(rec *grant.Recorder) (never []string) {
	judge := func(name string, declared, used grant.Set) {
		for _, g := range declared {
			if !slices.Contains(used, g) {
				never = append(never, fmt.Sprintf("%s declares %s and never used it", name, g))
			}
		}
	}
	var authenticated grant.Set
	for _, r := range api.Routes() {
		judge(r.Name, r.Uses, rec.Used(r.Name))
		authenticated = grant.Of(authenticated, rec.Used(r.Name))
	}
	// What authentication needs is not declared by routes, and not each of them
	// meets a token that is used for the first time.
	judge("authentication", accounts.Authenticates, authenticated)
	for _, w := range api.Workers() {
		judge(w.Name, w.Uses, rec.Used(w.Name))
	}
	return never
}

// abandon leaves what a creation of a room leaves that dies after its first
// transaction, which no request can do.
func abandon(t *testing.T, p *process.Process) {
	t.Helper()
	var names []string
	for _, table := range store.Tables {
		names = append(names, table.Name)
	}
	ctx := grant.With(t.Context(), "a dying creation", grant.WriteTable(names...), nil)
	err := p.Store.DB().Transact(ctx,
		store.Put(store.Server, store.Key{Part: "CREATING", Sort: "!room"}, store.Attrs{"at": int64(1)}),
		store.Put(store.Rooms, timeline.HeadKey("!room"), store.Encode(timeline.Head{Version: 1, Creating: true})),
		store.Put(store.Rooms, timeline.EventKey("!room", userlog.FirstPos), store.Encode(timeline.EventRow{ID: "$event"})),
		store.Put(store.Events, timeline.IndexKey("$event"), store.Attrs{}),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// fork makes a room in which other servers have left more forks than an event can
// follow.
func fork(t *testing.T, s *home.Server) {
	t.Helper()
	var names []string
	for _, table := range store.Tables {
		names = append(names, table.Name)
	}
	ctx := grant.With(t.Context(), "federation", grant.Of(grant.ReadTable(names...), grant.WriteTable(names...)), nil)
	if err := s.Keys.Import(ctx, roomstest.KeyLine("localhost")); err != nil {
		t.Fatal(err)
	}
	h := roomstest.New(t, roomversion.Default, 1, "one", "localhost")
	last := h.Order[len(h.Order)-1]
	for i := range 12 {
		h.Add([]string{last}, roomstest.Event{Sender: "@a:one", Type: "m.room.message", Content: map[string]any{"body": fmt.Sprint(i)}})
	}
	for i, eventID := range h.Order {
		in := rooms.Incoming{Received: h.Nodes[eventID].Received}
		var v receipt.Verdict
		var err error
		if i == 0 {
			v, err = s.Rooms.Begin(ctx, h.Room, nil, in)
		} else {
			v, err = s.Rooms.Receive(ctx, h.Room, in)
		}
		if err != nil || v.Outcome != receipt.Accepted {
			t.Fatalf("%s: %v, %v", eventID, v, err)
		}
	}
}

type answer struct {
	Token string `json:"access_token"`
	Room  string `json:"room_id"`
}

func do(t *testing.T, base, token, method, path, body string) (a answer) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base+"/_matrix/client/v3"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v", method, path, resp.Status, err)
	}
	return a
}

// litter leaves what a writer leaves that dies before it changes the state.
func litter(t *testing.T, p *process.Process, room string) {
	t.Helper()
	ctx := grant.With(t.Context(), "a dying writer", grant.WriteTable(store.Rooms.Name), nil)
	_, err := p.Store.DB().Write(ctx, store.Put(store.Rooms, timeline.ChunkKey(room, trie.Hash{}), store.Attrs{"b": []byte("x"), "born": int64(1)}))
	if err != nil {
		t.Fatal(err)
	}
}

// talk lets somebody say something to somebody who listens, and returns the
// tokens of both and where.
func talk(t *testing.T, base string) (tokens []string, room string) {
	t.Helper()
	for _, name := range []string{"alice", "bob"} {
		tokens = append(tokens, do(t, base, "", "POST", "/register", `{"username":"`+name+`","password":"a password","auth":{"type":"m.login.dummy"}}`).Token)
		do(t, base, tokens[len(tokens)-1], "GET", "/sync", "")
	}
	do(t, base, tokens[1], "POST", "/pushers/set", `{"kind":"http","app_id":"a","pushkey":"k","app_display_name":"A","device_display_name":"D","lang":"en","data":{"url":"http://127.0.0.1:9/_matrix/push/v1/notify"}}`)
	room = do(t, base, tokens[0], "POST", "/createRoom", `{"preset":"public_chat"}`).Room
	do(t, base, tokens[1], "POST", "/join/"+url.PathEscape(room), "{}")
	do(t, base, tokens[0], "PUT", "/rooms/"+url.PathEscape(room)+"/send/m.room.message/1", `{"msgtype":"m.text","body":"hello"}`)
	return tokens, room
}

// ahead is the machine's clock, moved on by the test.
type ahead struct{ by atomic.Int64 }

func (a *ahead) Now() time.Time                         { return time.Now().UTC().Add(time.Duration(a.by.Load())) }
func (a *ahead) After(d time.Duration) <-chan time.Time { return time.After(d) }

// finish lets the workers do what the script caused.
func finish(t *testing.T, p *process.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, do := range []func(context.Context) error{p.Store.Settled, p.RunTimers, p.Store.Settled} {
		if err := do(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// maxRoles is how many roles a stack has room for.
const maxRoles = 40

// TestRolesStayFew counts the distinct sets of grants, each a role on AWS.
func TestRolesStayFew(t *testing.T) {
	roles := map[string][]string{}
	for _, r := range api.Routes() {
		roles[r.Grants().String()] = append(roles[r.Grants().String()], r.Name)
	}
	for _, w := range api.Workers() {
		roles[w.Uses.String()] = append(roles[w.Uses.String()], w.Name)
	}
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		t.Logf("%d: [%s] %s", len(roles[role]), role, strings.Join(roles[role], " "))
	}
	if len(roles) > maxRoles {
		t.Errorf("there are %d distinct sets of grants, more than %d: let domains export fewer", len(roles), maxRoles)
	}
}

type inside struct{ in *server.Inside }

func (i inside) Base() string { return i.in.URL }

// Restart cannot kill what runs inside the test.
func (i inside) Restart(bool) { i.in.Restart() }
