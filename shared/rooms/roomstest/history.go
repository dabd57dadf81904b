// Package roomstest makes the history of a room of several servers that do not
// always hear from each other, for tests of those who receive it: real events,
// hashed and signed, with forks, lost duels and events that nobody may send. What
// each of them does to the room is worked out in the plainest way, on maps, to
// compare with.
package roomstest

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/receipt"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
)

// Node is an event of the history.
type Node struct {
	*receipt.Received
	// Before and After are the states before and after it.
	Before, After stateres.StateMap
	// Rejected says that every server has to reject it.
	Rejected bool
}

// History is the history of a room.
type History struct {
	Version *roomversion.Version
	Room    string
	Nodes   map[string]*Node
	// Order lists the events as they were made.
	Order []string

	t     testing.TB
	r     *rand.Rand
	keys  map[string]ed25519.PrivateKey // by server
	tips  map[string][]string           // of each server
	users []string
	ts    int64
}

const keyID = "ed25519:1"

// Seed is the seed of the signing key of a server.
func Seed(server string) []byte {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, server)
	return seed
}

// KeyLine is the signing key of a server in the form of key files.
func KeyLine(server string) string {
	return "ed25519 1 " + base64.RawStdEncoding.EncodeToString(Seed(server))
}

// New makes a room of a version by a user of the first of the servers, in which a
// user of each of them is joined. The same seed makes the same history.
func New(t testing.TB, version string, seed uint64, servers ...string) *History {
	t.Helper()
	v, ok := roomversion.Get(version)
	if !ok {
		t.Fatalf("no room version %s", version)
	}
	h := &History{
		Version: v, Room: "!room:" + servers[0], Nodes: map[string]*Node{}, t: t, r: rand.New(rand.NewPCG(seed, 1)),
		keys: map[string]ed25519.PrivateKey{}, tips: map[string][]string{}, ts: 1_700_000_000_000,
	}
	for _, s := range servers {
		h.keys[s] = ed25519.NewKeyFromSeed(Seed(s))
		for _, name := range []string{"a", "b", "c"} {
			h.users = append(h.users, "@"+name+":"+s)
		}
	}
	creator := h.users[0]
	create := map[string]any{"room_version": version}
	if !v.SenderCreates {
		create["creator"] = creator
	}
	if v.HashRoomIDs {
		h.Room = ""
	}
	admins := map[string]int{creator: 100}
	if v.Creators {
		admins = map[string]int{}
	}
	for _, s := range servers[1:] {
		admins["@a:"+s] = 50
	}
	h.begin(creator, "m.room.create", "", create)
	h.begin(creator, "m.room.member", creator, map[string]any{"membership": "join"})
	h.begin(creator, "m.room.power_levels", "", map[string]any{"users": admins, "state_default": 50, "events": map[string]int{"m.room.topic": 0}})
	h.begin(creator, "m.room.join_rules", "", map[string]any{"join_rule": "public"})
	h.begin(creator, "m.room.history_visibility", "", map[string]any{"history_visibility": "shared"})
	for _, s := range servers[1:] {
		h.begin("@a:"+s, "m.room.member", "@a:"+s, map[string]any{"membership": "join"})
	}
	return h
}

// begin adds an event that all servers hear of.
func (h *History) begin(sender, typ, stateKey string, content any) {
	h.t.Helper()
	var prev []string
	if n := len(h.Order); n > 0 {
		prev = h.Order[n-1:]
	}
	n := h.Add(prev, Event{Sender: sender, Type: typ, StateKey: &stateKey, Content: content})
	if n == nil || n.Rejected {
		h.t.Fatalf("the room cannot begin with %s of %s", typ, sender)
	}
	for s := range h.keys {
		h.tips[s] = []string{n.Event().ID}
	}
}

// Event is an event to be added.
type Event struct {
	Sender, Type string
	StateKey     *string
	Content      any
	Redacts      string
	Hostile      bool // it is made though the rules do not allow it
}

// Add makes an event that follows others, or returns nil if the rules do not allow
// it.
func (h *History) Add(prev []string, d Event) *Node {
	h.t.Helper()
	before := h.stateAfter(prev)
	content, err := json.Marshal(d.Content)
	h.ok(err)
	b := pdu.Builder{
		Type: d.Type, RoomID: h.Room, Sender: d.Sender, StateKey: d.StateKey, Content: content, Redacts: d.Redacts,
		PrevEvents: prev, Depth: 1, OriginServerTS: h.ts + h.r.Int64N(4), Hashes: map[string]string{},
	}
	h.ts += h.r.Int64N(3)
	for _, p := range prev {
		b.Depth = max(b.Depth, h.Nodes[p].Event().Depth+1)
	}
	view, err := auth.ViewOfBuilder(h.Version, &b)
	h.ok(err)
	if auth.Check(h.Version, view, h.views(before)) != nil && !d.Hostile {
		return nil
	}
	for _, k := range auth.Needed(h.Version, view) {
		if eventID := before[k]; eventID != "" {
			b.AuthEvents = append(b.AuthEvents, eventID)
		}
	}
	for _, cited := range slices.Concat(b.PrevEvents, b.AuthEvents) {
		hash, err := pdu.ReferenceHash(h.Version, h.Nodes[cited].Event().JSON())
		h.ok(err)
		b.Hashes[cited] = base64.RawStdEncoding.EncodeToString(hash[:])
	}
	server := id.Server(d.Sender)
	e, err := b.Build(h.Version, server, keyID, h.keys[server])
	h.ok(err)
	if h.Room == "" {
		h.Room = e.RoomID
	}
	n := &Node{Received: h.receive(e.JSON()), Before: before, After: before}
	cited := receipt.Cited{}
	for _, ref := range n.Cites() {
		if c := h.Nodes[ref]; c != nil {
			cited[ref] = c.view()
		}
	}
	n.Rejected = n.JudgePast(cited, h.views(before)).Outcome != receipt.Accepted
	if e.IsState() && !n.Rejected {
		n.After = maps.Clone(before)
		n.After[auth.Key{Type: e.Type, StateKey: *e.StateKey}] = e.ID
	}
	h.Nodes[e.ID] = n
	h.Order = append(h.Order, e.ID)
	return n
}

// receive is what a server does that gets the bytes.
func (h *History) receive(raw []byte) *receipt.Received {
	h.t.Helper()
	u, err := receipt.Parse(h.Version, h.Room, raw)
	h.ok(err)
	keys := receipt.Keys{}
	for server, key := range h.keys {
		keys[receipt.KeyName{Server: server, ID: keyID}] = receipt.Key{Public: key.Public().(ed25519.PublicKey), ValidUntil: h.ts + 1e9}
	}
	r, err := u.Verify(keys, h.ts)
	h.ok(err)
	return r
}

// view is the view as a server keeps it.
func (n *Node) view() *auth.View {
	v := *n.View()
	v.Rejected = n.Rejected
	return &v
}

// Views is that of stateres.Source.
func (h *History) Views(ids []string) ([]*auth.View, error) {
	views := make([]*auth.View, len(ids))
	for i, eventID := range ids {
		if n := h.Nodes[eventID]; n != nil {
			views[i] = n.view()
		}
	}
	return views, nil
}

func (h *History) views(s stateres.StateMap) auth.StateMap {
	views := auth.StateMap{}
	for k, eventID := range s {
		views[k] = h.Nodes[eventID].view()
	}
	return views
}

// stateAfter is the state where several events meet.
func (h *History) stateAfter(prev []string) stateres.StateMap {
	h.t.Helper()
	var states []stateres.StateMap
	for _, p := range prev {
		states = append(states, h.Nodes[p].After)
	}
	s, _, err := stateres.Resolve(h.Version, states, h)
	h.ok(err)
	return s
}

func (h *History) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// State lists the events of a state.
func State(s stateres.StateMap) []string { return slices.Sorted(maps.Values(s)) }
