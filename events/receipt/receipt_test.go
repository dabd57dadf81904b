package receipt_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/receipt"
	"github.com/virga-im/virga/events/roomversion"
)

const (
	alice = "@alice:a.org"
	bob   = "@bob:b.org"
	now   = 1_800_000_000_000
	day   = 24 * 60 * 60 * 1000
)

// keyOf is the signing key of a server: one that anyone can make again.
func keyOf(server string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(fmt.Sprintf("%-32s", server))[:32])
}

func b64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// world is a room with alice, its creator, and bob, and everything that a server
// would load for the next event.
type world struct {
	t     testing.TB
	v     *roomversion.Version
	room  string
	state auth.StateMap
	cited receipt.Cited
	last  string
	depth int64
}

func newWorld(t testing.TB, version string) *world {
	t.Helper()
	v, ok := roomversion.Get(version)
	if !ok {
		t.Fatalf("no room version %s", version)
	}
	w := &world{t: t, v: v, state: auth.StateMap{}, cited: receipt.Cited{}}
	if !v.HashRoomIDs {
		w.room = "!room:a.org"
	}
	empty := ""
	w.add(&pdu.Builder{Type: "m.room.create", StateKey: &empty, Sender: alice, Content: json.RawMessage(`{"creator":"@alice:a.org","room_version":"` + version + `"}`)})
	w.join(alice)
	w.add(&pdu.Builder{Type: "m.room.join_rules", StateKey: &empty, Sender: alice, Content: json.RawMessage(`{"join_rule":"public"}`)})
	w.join(bob)
	return w
}

func (w *world) join(user string) {
	w.t.Helper()
	w.add(&pdu.Builder{Type: "m.room.member", StateKey: &user, Sender: user, Content: json.RawMessage(`{"membership":"join"}`)})
}

// build makes the next event as the sender's server would.
func (w *world) build(b *pdu.Builder) *pdu.Event {
	w.t.Helper()
	b.RoomID, b.Depth, b.OriginServerTS = w.room, w.depth, now
	if w.last != "" {
		b.PrevEvents = []string{w.last}
	}
	if b.Content == nil {
		b.Content = json.RawMessage(`{"body":"hello","msgtype":"m.text"}`)
	}
	draft, err := auth.ViewOfBuilder(w.v, b)
	if err != nil {
		w.t.Fatal(err)
	}
	if b.AuthEvents == nil {
		for _, k := range auth.Needed(w.v, draft) {
			if view := w.state[k]; view != nil {
				b.AuthEvents = append(b.AuthEvents, view.ID)
			}
		}
	}
	server := id.Server(b.Sender)
	e, err := b.Build(w.v, server, "ed25519:1", keyOf(server))
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) add(b *pdu.Builder) *pdu.Event {
	w.t.Helper()
	e := w.build(b)
	view, err := auth.ViewOf(e)
	if err != nil {
		w.t.Fatal(err)
	}
	w.room, w.last, w.depth = e.RoomID, e.ID, w.depth+1
	w.cited[e.ID] = view
	if view.State {
		w.state[view.Key()] = view
	}
	return e
}

func (w *world) message() *pdu.Event {
	return w.build(&pdu.Builder{Type: "m.room.message", Sender: bob})
}

// keys answers every want with the server's key, valid for a year.
func keysFor(u *receipt.Unverified) receipt.Keys {
	keys := receipt.Keys{}
	for _, want := range u.Wants() {
		for _, keyID := range want.IDs {
			keys[receipt.KeyName{Server: want.Server, ID: keyID}] = receipt.Key{
				Public: keyOf(want.Server).Public().(ed25519.PublicKey), ValidUntil: now + 365*day,
			}
		}
	}
	return keys
}

func (w *world) receive(raw []byte) (*receipt.Received, error) {
	u, err := receipt.Parse(w.v, w.room, raw)
	if err != nil {
		return nil, err
	}
	return u.Verify(keysFor(u), now)
}

func (w *world) received(raw []byte) *receipt.Received {
	w.t.Helper()
	r, err := w.receive(raw)
	if err != nil {
		w.t.Fatalf("version %s: %v", w.v.ID, err)
	}
	return r
}

// evidence is what a server would load: the state before is the current state.
func (w *world) evidence() receipt.Evidence {
	return receipt.Evidence{Cited: w.cited, Before: w.state, Current: w.state, Policy: receipt.PolicyOf(nil, nil)}
}

func (w *world) want(v receipt.Verdict, outcome receipt.Outcome, check int) {
	w.t.Helper()
	if v.Outcome != outcome || v.Check != check || (v.Err == nil) != (outcome == receipt.Accepted) {
		w.t.Errorf("version %s: %v by check %d (%s %v), want %v by check %d", w.v.ID, v.Outcome, v.Check, v.Rule, v.Err, outcome, check)
	}
}

func everyVersion(t *testing.T, f func(*world)) {
	t.Helper()
	for _, v := range roomversion.All() {
		f(newWorld(t, v.ID))
	}
}

func TestGoodEventIsAccepted(t *testing.T) {
	everyVersion(t, func(w *world) {
		e := w.message()
		r := w.received(e.JSON())
		w.want(r.Judge(w.evidence()), receipt.Accepted, 0)
		if r.Redacted() || r.Event().ID != e.ID || len(r.Missing(w.cited)) != 0 {
			t.Errorf("version %s: %+v", w.v.ID, r)
		}
		if room, err := receipt.RoomID(e.JSON()); room != w.room || err != nil {
			t.Error(room, err)
		}
	})
}

func TestWhatIsNotLoadedLetsNothingPass(t *testing.T) {
	everyVersion(t, func(w *world) {
		r := w.received(w.message().JSON())
		all := w.evidence()
		w.want(r.Judge(receipt.Evidence{}), receipt.Rejected, 4)
		w.want(r.Judge(receipt.Evidence{Before: all.Before, Current: all.Current, Policy: all.Policy}), receipt.Rejected, 4)
		w.want(r.Judge(receipt.Evidence{Cited: all.Cited, Current: all.Current, Policy: all.Policy}), receipt.Rejected, 5)
		w.want(r.Judge(receipt.Evidence{Cited: all.Cited, Before: all.Before, Policy: all.Policy}), receipt.SoftFailed, 6)
		w.want(r.Judge(receipt.Evidence{Cited: all.Cited, Before: all.Before, Current: all.Current}), receipt.SoftFailed, 7)
		w.want(receipt.VerdictOf(errors.New("x")), receipt.Dropped, 1)
		if (receipt.Verdict{}).Outcome != receipt.Dropped {
			t.Error("the zero verdict lets something in")
		}
		if missing := r.Missing(nil); len(missing) != len(r.Cites()) {
			t.Errorf("missing %v of %v", missing, r.Cites())
		}
	})
}

func TestEventOfAnotherRoomIsDropped(t *testing.T) {
	everyVersion(t, func(w *world) {
		_, err := receipt.Parse(w.v, "!other:a.org", w.message().JSON())
		w.want(receipt.VerdictOf(err), receipt.Dropped, 1)
	})
}

func TestForgedContentIsRedacted(t *testing.T) {
	everyVersion(t, func(w *world) {
		e := w.message()
		r := w.received(bytes.Replace(e.JSON(), []byte("hello"), []byte("buy!!"), 1))
		if !r.Redacted() || string(r.Event().Content) != "{}" || r.Event().ID != e.ID || strings.Contains(string(r.Event().JSON()), "buy!!") {
			t.Errorf("version %s: %s", w.v.ID, r.Event().JSON())
		}
		w.want(r.Judge(w.evidence()), receipt.Accepted, 0)
	})
}

func TestMalformedEventIsDropped(t *testing.T) {
	everyVersion(t, func(w *world) {
		for _, raw := range []string{``, `[]`, `{`, `{}`, `{"room_id":1}`, `{"room_id":"!room:a.org"}`} {
			_, err := receipt.Parse(w.v, w.room, []byte(raw))
			w.want(receipt.VerdictOf(err), receipt.Dropped, 1)
		}
		for _, raw := range []string{``, `[]`, `{"room_id":1}`, `{"room_id":null}`, `{"room_id":"!a:b","room_id":"!c:d"}`} {
			if room, err := receipt.RoomID([]byte(raw)); err == nil {
				t.Errorf("%s is of room %q", raw, room)
			}
		}
	})
}

// A message that cites yesterday's power levels passes at its auth events, and
// fails at the state before it; a banned user's message from before the ban fails
// at the current state only.
func TestEachCheckHasItsState(t *testing.T) {
	everyVersion(t, func(w *world) {
		r := w.received(w.message().JSON())
		all := w.evidence()
		later := auth.StateMap{}
		for k, view := range w.state {
			later[k] = view
		}
		ban := bob
		e := w.build(&pdu.Builder{Type: "m.room.member", StateKey: &ban, Sender: alice, Content: json.RawMessage(`{"membership":"ban"}`)})
		view, err := auth.ViewOf(e)
		if err != nil {
			t.Fatal(err)
		}
		later[view.Key()] = view
		w.want(r.Judge(receipt.Evidence{Cited: all.Cited, Before: later, Current: all.Current, Policy: all.Policy}), receipt.Rejected, 5)
		w.want(r.Judge(receipt.Evidence{Cited: all.Cited, Before: all.Before, Current: later, Policy: all.Policy}), receipt.SoftFailed, 6)
		w.want(r.JudgePast(all.Cited, all.Before), receipt.Accepted, 0)
		w.want(r.JudgePast(all.Cited, later), receipt.Rejected, 5)
		w.want(r.JudgeOutlier(all.Cited), receipt.Accepted, 0)
		if v := r.JudgePast(all.Cited, later); v.Rule == "" {
			t.Error("the verdict names no rule")
		}
	})
}

// What a caller loaded under a wrong id, or of a rejected event, is no evidence.
func TestCitedEventsAreHeldToTheirIDs(t *testing.T) {
	everyVersion(t, func(w *world) {
		r := w.received(w.message().JSON())
		for i, ref := range r.Cites() {
			cited := receipt.Cited{}
			for k, view := range w.cited {
				cited[k] = view
			}
			wrong := *cited[ref]
			wrong.ID = "$other"
			cited[ref] = &wrong
			w.want(r.JudgeOutlier(cited), receipt.Rejected, 4)
			rejected := *w.cited[ref]
			rejected.Rejected = true
			cited[ref] = &rejected
			w.want(r.JudgeOutlier(cited), receipt.Rejected, 4)
			delete(cited, ref)
			w.want(r.JudgeOutlier(cited), receipt.Rejected, 4)
			if missing := r.Missing(cited); len(missing) != 1 || missing[0] != ref {
				t.Errorf("version %s, %d: missing %v", w.v.ID, i, missing)
			}
		}
	})
}
