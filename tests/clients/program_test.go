// Package clients proves that the clients people use work: users of
// matrix-js-sdk and of mautrix-go live through stories on a started server,
// alone and with each other.
//
// Each SDK has a program here that holds users and does what it is told: a line
// such as {"id":7,"as":"alice","act":"send","room":"!…","body":"hi"} on its
// standard input, an answer {"id":7,"result":{…}} or {"id":7,"error":{…}} on its
// standard output, and between answers {"as":"bob","saw":{…}} for each event that
// the SDK hands to an app, and {"as":"bob","stirred":true} whenever it may hold
// something new. So a story is told once, in Go, and lived by every pair of SDKs: a
// function and a line in stories. What is about the objects of matrix-js-sdk alone is
// told in JavaScript, a file in jssdk/stories. A story of what is not served yet has
// a line in waiting until it is.
//
// All of it takes about as long as TestNothingIsLostOrDoubledByAKill, in which an
// SDK waits for seconds before it tries again.
package clients

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long an answer or an event may take. What takes longer is
// lost; nothing waits this long when all is well.
const patience = 20 * time.Second

// A program is a running process of users of one SDK.
type program struct {
	sdk     sdk
	process *exec.Cmd

	mu      sync.Mutex
	in      io.Writer
	last    int
	answers map[int]chan answer
	users   map[string]*user
	said    strings.Builder // on standard error
	ended   chan struct{}
}

type answer struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *failure        `json:"error"`

	As  string `json:"as"`
	Saw *event `json:"saw"`

	Stirred bool `json:"stirred"`
}

// A failure is what an SDK made of an error.
type failure struct {
	Code    string `json:"errcode"`
	Status  int    `json:"status"`
	Message string `json:"message"`
}

func (f *failure) Error() string { return fmt.Sprintf("%s (%d): %s", f.Code, f.Status, f.Message) }

// An event is one that an SDK handed to an app. Events of invites are stripped
// and have no ID.
type event struct {
	RoomID   string  `json:"room_id"`
	ID       string  `json:"event_id"`
	Type     string  `json:"type"`
	Sender   string  `json:"sender"`
	StateKey *string `json:"state_key"`
	Redacts  string  `json:"redacts"`
	Content  struct {
		Body       string `json:"body"`
		Membership string `json:"membership"`
		Name       string `json:"name"`
		Display    string `json:"displayname"`
		Reason     string `json:"reason"`
	} `json:"content"`
	Unsigned struct {
		TransactionID string `json:"transaction_id"`
	} `json:"unsigned"`
}

func (e event) String() string {
	key := ""
	if e.StateKey != nil {
		key = fmt.Sprintf(" %q", *e.StateKey)
	}
	return fmt.Sprintf("%s %s%s by %s %+v", e.ID, e.Type, key, e.Sender, e.Content)
}

// start runs the program of an SDK against the homeserver at the URL until the
// test ends.
func start(t *testing.T, of sdk, url string) *program {
	t.Helper()
	args := append(of.install(t), url)
	p := &program{sdk: of, process: exec.Command(args[0], args[1:]...), answers: map[int]chan answer{}, users: map[string]*user{}, ended: make(chan struct{})}
	stdin, err := p.process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.process.Stderr = stdin, writer(func(b []byte) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.said.Write(b)
	})
	if err := p.process.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(stdout)
	t.Cleanup(func() {
		_ = p.process.Process.Kill()
		<-p.ended
		_ = p.process.Wait()
		if said := p.said.String(); t.Failed() && said != "" {
			t.Logf("%s said:\n%s", of.name, said[max(0, len(said)-16<<10):])
		}
	})
	return p
}

type writer func(b []byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

func (p *program) read(stdout io.Reader) {
	defer close(p.ended)
	for lines := bufio.NewReader(stdout); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			p.mu.Lock()
			fmt.Fprintf(&p.said, "not an answer: %s: %v\n", line, err)
			p.mu.Unlock()
			continue
		}
		p.mu.Lock()
		c, u := p.answers[a.ID], p.users[a.As]
		delete(p.answers, a.ID)
		p.mu.Unlock()
		switch {
		case a.Saw != nil && u != nil:
			u.see(*a.Saw)
		case a.Stirred && u != nil:
			u.stir()
		case c != nil:
			c <- a
		}
	}
}

// A user is one device of a Matrix user, in a program.
type user struct {
	*program
	name string // in the program
	ID   string
	// Local is the localpart of ID.
	Local string

	seen  []event       // under program.mu
	fresh chan struct{} // closed and replaced when something was seen
}

const password = "wonderland, but wetter"

// register makes a user with a device.
func (p *program) register(t *testing.T, name string) *user {
	t.Helper()
	return p.enter(t, "register", name, name)
}

// login makes another device of a user, of this SDK.
func (p *program) login(t *testing.T, of *user, name string) *user {
	t.Helper()
	return p.enter(t, "login", name, of.Local)
}

func (p *program) enter(t *testing.T, act, name, local string) *user {
	t.Helper()
	u := &user{program: p, name: name, Local: local, fresh: make(chan struct{})}
	p.mu.Lock()
	p.users[name] = u
	p.mu.Unlock()
	u.ID = u.must(t, act, args{"user": local, "password": password}).UserID
	return u
}

type args map[string]any

// try has the user do something.
func (u *user) try(act string, a args) (json.RawMessage, error) {
	c := make(chan answer, 1)
	line := args{"as": u.name, "act": act}
	for k, v := range a {
		line[k] = v
	}
	u.mu.Lock()
	u.last++
	line["id"] = u.last
	u.answers[u.last] = c
	b, err := json.Marshal(line)
	if err == nil {
		_, err = u.in.Write(append(b, '\n'))
	}
	u.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case a := <-c:
		if a.Error != nil {
			return nil, a.Error
		}
		return a.Result, nil
	case <-u.ended:
		return nil, fmt.Errorf("the program of %s ended", u.sdk.name)
	case <-time.After(patience):
		return nil, fmt.Errorf("%s did not answer for %s", u.sdk.name, patience)
	}
}

type result struct {
	UserID   string `json:"user_id"`
	DeviceID string `json:"device_id"`
	RoomID   string `json:"room_id"`
	EventID  string `json:"event_id"`
}

// must has the user do something that works.
func (u *user) must(t *testing.T, act string, a args) (r result) {
	t.Helper()
	b, err := u.try(act, a)
	if err != nil {
		t.Fatalf("%s of %s cannot %s %v: %v", u.name, u.sdk.name, act, a, err)
	}
	if r, err = decodeResult(b); err != nil {
		t.Fatalf("%s: %v", act, err)
	}
	return r
}

func decodeResult(b json.RawMessage) (r result, err error) {
	if len(b) > 0 {
		if err = json.Unmarshal(b, &r); err != nil {
			err = fmt.Errorf("%w in %s", err, b)
		}
	}
	return r, err
}

// refused has the user do something that the server refuses with the code.
func (u *user) refused(t *testing.T, code, act string, a args) {
	t.Helper()
	b, err := u.try(act, a)
	f, _ := err.(*failure)
	switch {
	case err == nil:
		t.Errorf("%s of %s can %s %v: %s; want %s", u.name, u.sdk.name, act, a, b, code)
	case f == nil || f.Code != code:
		t.Errorf("%s of %s: %s: %v; want %s", u.name, u.sdk.name, act, err, code)
	}
}

func (u *user) see(e event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen = append(u.seen, e)
	close(u.fresh)
	u.fresh = make(chan struct{})
}

func (u *user) stir() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.fresh)
	u.fresh = make(chan struct{})
}

// history is what the user has seen of a room, in order.
func (u *user) history(room string) []event {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(u.seen), func(e event) bool { return e.RoomID != room })
}

// eventually waits until the condition holds, looking again whenever the user sees
// an event, or the SDK may hold something new.
func (u *user) eventually(t *testing.T, room, what string, ok func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		u.mu.Lock()
		fresh := u.fresh
		u.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-fresh:
		case <-u.ended:
			t.Fatalf("the program of %s ended", u.sdk.name)
		case <-timeout:
			var b strings.Builder
			for _, e := range u.history(room) {
				fmt.Fprintf(&b, "\n  %s", e)
			}
			t.Fatalf("%s of %s does not see %s. In the room it has seen:%s", u.name, u.sdk.name, what, b.String())
		}
	}
}

// sees waits for an event in a room.
func (u *user) sees(t *testing.T, room, what string, match func(event) bool) (found event) {
	t.Helper()
	u.eventually(t, room, what, func() bool {
		h := u.history(room)
		i := slices.IndexFunc(h, match)
		if i >= 0 {
			found = h[i]
		}
		return i >= 0
	})
	return found
}

// syncs has the user sync from now on, with timelines of at most so many events.
func (u *user) syncs(t *testing.T, limit int) {
	t.Helper()
	u.must(t, "sync", args{"limit": limit})
}

// all is a limit that no timeline here comes near.
const all = 100

// seesMember waits for an m.room.member event.
func (u *user) seesMember(t *testing.T, room string, by, of *user, membership string) event {
	t.Helper()
	return u.sees(t, room, fmt.Sprintf("%s as %s by %s", of.ID, membership, by.ID), func(e event) bool {
		return e.Type == "m.room.member" && e.Sender == by.ID && *e.StateKey == of.ID && e.Content.Membership == membership
	})
}

// shown is an event of the room as the SDK holds it after all that came by.
type shown struct {
	ID       string `json:"event_id"`
	Type     string `json:"type"`
	Body     string `json:"body"`
	Redacted bool   `json:"redacted"`
}

// timeline is the room as an app shows it.
func (u *user) timeline(t *testing.T, room string) []shown {
	t.Helper()
	return held[shown](t, u, "timeline", room)
}

// messages are the m.room.message events of the timeline.
func (u *user) messages(t *testing.T, room string) []shown {
	t.Helper()
	return slices.DeleteFunc(u.timeline(t, room), func(s shown) bool { return s.Type != "m.room.message" })
}

type member struct {
	UserID     string `json:"user_id"`
	Membership string `json:"membership"`
	Name       string `json:"name"`
}

// member is a member of the room as an app shows it.
func (u *user) member(t *testing.T, room string, of *user) member {
	t.Helper()
	list := held[member](t, u, "members", room)
	if i := slices.IndexFunc(list, func(m member) bool { return m.UserID == of.ID }); i >= 0 {
		return list[i]
	}
	return member{}
}

func held[T any](t *testing.T, u *user, act, room string) []T {
	t.Helper()
	return ask[[]T](t, u, act, args{"room": room})
}

// ask has the user find something out.
func ask[T any](t *testing.T, u *user, act string, a args) (found T) {
	t.Helper()
	b, err := u.try(act, a)
	if err != nil {
		t.Fatalf("%s of %s cannot %s %v: %v", u.name, u.sdk.name, act, a, err)
	}
	if err := json.Unmarshal(b, &found); err != nil && string(b) != "{}" { // which is how nothing is said
		t.Fatalf("%s: %v in %s", act, err, b)
	}
	return found
}

// comes waits until what the SDK holds is as wanted.
func comes[T any](t *testing.T, u *user, act string, a args, want T) {
	t.Helper()
	var last T
	room, _ := a["room"].(string)
	defer func() {
		if t.Failed() {
			t.Logf("%s of %s holds %+v", u.name, u.sdk.name, last)
		}
	}()
	u.eventually(t, room, fmt.Sprintf("%s %v become %+v", act, a, want), func() bool {
		last = ask[T](t, u, act, a)
		return reflect.DeepEqual(last, want)
	})
}

// once fails if the SDK handed out an event twice. For state, matrix-js-sdk does
// so itself: what is in the timeline of a room that was left, and in its
// state_after.
func (u *user) once(t *testing.T, room string) {
	t.Helper()
	times := map[string]int{}
	for _, e := range u.history(room) {
		if e.ID == "" || e.StateKey != nil && u.sdk.name == jsSDK.name {
			continue
		}
		if times[e.ID]++; times[e.ID] == 2 {
			t.Errorf("%s of %s got twice: %s", u.name, u.sdk.name, e)
		}
	}
}
