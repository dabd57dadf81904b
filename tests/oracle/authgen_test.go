package oracle

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/tests/oracle/room"
)

// people are who may be in a room, on three servers.
var people = []string{"@alice:x", "@bob:x", "@carol:y", "@dave:y", "@erin:z"}

var memberships = []string{"join", "leave", "ban", "invite", "knock"}

// A village makes random states of rooms, and events that somebody wants to add
// to them. Rooms and events are made once for each content.
type village struct {
	dice
	v     *roomversion.Version
	rooms map[string]*place
}

// A place is a room with one create event.
type place struct {
	*room.Room
	create *room.Event
	made   map[string]*room.Event
}

func newVillage(v *roomversion.Version, d dice) *village {
	return &village{dice: d, v: v, rooms: map[string]*place{}}
}

// object writes a JSON object of pairs, in order, leaving out empty values.
func object(pairs ...string) string {
	m := map[string]json.RawMessage{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			m[pairs[i]] = json.RawMessage(pairs[i+1])
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("%q: %v", pairs, err))
	}
	return string(b)
}

func (g *village) place() *place {
	creator, additional := `"@alice:x"`, ""
	if g.v.Creators {
		additional = pick(g.dice, "", "", `[]`, `["@bob:x"]`, `["@carol:y","@bob:x"]`)
	} else if g.chance(6) {
		creator = `"@bob:x"` // not who sent it
	}
	if g.v.SenderCreates && !g.chance(5) {
		creator = ""
	}
	version := `"` + g.v.ID + `"`
	if g.v.ID == "1" && g.chance(2) {
		version = ""
	}
	content := object("creator", creator, "room_version", version,
		"m.federate", pick(g.dice, "", "", "", "true", "false", `"false"`), "additional_creators", additional)
	p := g.rooms[content]
	if p == nil {
		p = &place{Room: room.New(g.v), made: map[string]*room.Event{}}
		p.create = p.event(room.Draft{Type: "m.room.create", StateKey: room.StateKey(""), Sender: "@alice:x", Content: content})
		g.rooms[content] = p
	}
	return p
}

// event makes an event once for each draft.
func (p *place) event(d room.Draft) *room.Event {
	key := ""
	if d.StateKey != nil {
		key = "=" + *d.StateKey
	}
	name := fmt.Sprint(d.Type, key, d.Sender, d.Content, d.Prev, d.Auth, d.Redacts, d.SignedBy, d.EventID)
	if e := p.made[name]; e != nil {
		return e
	}
	e, err := p.Make(d)
	if err != nil {
		panic(err)
	}
	p.made[name] = e
	return e
}

func (p *place) state(typ, key, sender, content string) *room.Event {
	return p.event(room.Draft{Type: typ, StateKey: &key, Sender: sender, Content: content, Prev: []string{"$before:x"}})
}

// stateOf makes a random state of a place.
func (g *village) stateOf(p *place) map[auth.Key]*room.Event {
	s := map[auth.Key]*room.Event{}
	put := func(e *room.Event) { s[e.View.Key()] = e }
	if !g.chance(100) {
		put(p.create)
	}
	for _, user := range people {
		if g.chance(5) {
			continue
		}
		m := pick(g.dice, memberships...)
		if g.chance(2) || m == "knock" && !g.v.Knock {
			m = "join"
		}
		put(p.state("m.room.member", user, user, object("membership", `"`+m+`"`)))
	}
	if !g.chance(5) {
		put(p.state("m.room.power_levels", "", "@alice:x", g.levels(p, true)))
	}
	if !g.chance(6) {
		rule := pick(g.dice, "public", "invite", "knock", "restricted", "knock_restricted", "private", "open")
		put(p.state("m.room.join_rules", "", "@alice:x", object("join_rule", `"`+rule+`"`)))
	}
	if g.chance(2) {
		put(p.state("m.room.third_party_invite", "token", pick(g.dice, people...), g.invitation()))
	}
	return s
}

// level is a power level as somebody may have written it.
func (g *village) level() string {
	n := pick(g.dice, "0", "25", "50", "50", "75", "100", "-10", "9007199254740991")
	if g.v.IntegerLevels || !g.chance(6) {
		return n
	}
	return pick(g.dice, `"`+n+`"`, `" `+n+` "`)
}

// oddLevel is no level, in some room versions or in all.
func (g *village) oddLevel() string {
	if g.v.FloatLevels {
		return pick(g.dice, "50.5", "1e2", "true", "null", `"fifty"`, `[50]`, `{}`, `""`)
	}
	return pick(g.dice, "true", "null", `"50"`, `"fifty"`, `[50]`, `{}`)
}

// levels is a content of m.room.power_levels. One that is in a state was
// accepted, so nothing in it is odd.
func (g *village) levels(p *place, accepted bool) string {
	maybe := func(n int, value func() string) string {
		if g.chance(n) {
			return value()
		}
		return ""
	}
	one := func() string {
		if !accepted && g.chance(40) {
			return g.oddLevel()
		}
		return g.level()
	}
	table := func(keys []string) func() string {
		return func() string {
			if !accepted && g.chance(40) {
				return pick(g.dice, "[]", "null", `"x"`)
			}
			var pairs []string
			for _, k := range keys {
				if g.chance(3) {
					pairs = append(pairs, k, one())
				}
			}
			return object(pairs...)
		}
	}
	var users []string
	for _, u := range people {
		if auth.LevelsOf(g.v, p.create.View, nil).IsCreator(u) && g.v.Creators && (accepted || !g.chance(10)) {
			continue
		}
		users = append(users, u)
	}
	if !accepted && g.chance(6) {
		users = append(users, pick(g.dice, "carol", "@carol", "@:y", "!carol:y", ""))
	}
	return object(
		"users", maybe(1, table(users)), "users_default", maybe(6, one),
		"events", maybe(2, table([]string{"m.room.topic", "m.room.message", "m.room.power_levels", "m.room.redaction", "m.room.third_party_invite", "m.room.member"})),
		"events_default", maybe(6, one), "state_default", maybe(4, one),
		"ban", maybe(4, one), "kick", maybe(4, one), "redact", maybe(4, one), "invite", maybe(4, one),
		"notifications", maybe(4, table([]string{"room", "other"})))
}

// edited changes a few entries of the power levels of a state.
func (g *village) edited(p *place, old string) string {
	var was, other map[string]json.RawMessage
	mustRead(old, &was)
	mustRead(g.levels(p, false), &other)
	keys := []string{"users", "users_default", "events", "events_default", "state_default", "ban", "kick", "redact", "invite", "notifications"}
	for range g.IntN(3) {
		key := pick(g.dice, keys...)
		before, after := map[string]json.RawMessage{}, map[string]json.RawMessage{}
		if json.Unmarshal(was[key], &before) != nil || json.Unmarshal(other[key], &after) != nil || g.chance(4) {
			if other[key] != nil {
				was[key] = other[key]
			} else {
				delete(was, key)
			}
			continue
		}
		// Of a map, one entry changes.
		entries := slices.Sorted(maps.Keys(before))
		for _, k := range slices.Sorted(maps.Keys(after)) {
			if !slices.Contains(entries, k) {
				entries = append(entries, k)
			}
		}
		if len(entries) > 0 {
			k := pick(g.dice, entries...)
			if v, ok := after[k]; ok {
				before[k] = v
			} else {
				delete(before, k)
			}
		}
		b, _ := json.Marshal(before)
		was[key] = b
	}
	b, _ := json.Marshal(was)
	return string(b)
}

func mustRead(text string, into any) {
	if err := json.Unmarshal([]byte(text), into); err != nil {
		panic(fmt.Sprintf("%s: %v", text, err))
	}
}

// The identity server's keys: one signs, the other is not in use.
var (
	identityKey = ed25519.NewKeyFromSeed([]byte("the seed of an identity server's"))
	otherKey    = ed25519.NewKeyFromSeed([]byte("the seed of a key that is unused"))
)

func public(key ed25519.PrivateKey) string {
	return `"` + base64.RawStdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)) + `"`
}

// invitation is a content of m.room.third_party_invite.
func (g *village) invitation() string {
	list := func(keys ...ed25519.PrivateKey) string {
		var items []string
		for _, k := range keys {
			items = append(items, object("public_key", public(k), "key_validity_url", `"https://id.y/valid"`))
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	switch g.IntN(4) {
	case 0: // as in 2016
		return object("display_name", `"c"`, "public_key", public(identityKey))
	case 1:
		return object("display_name", `"c"`, "public_key", public(otherKey), "public_keys", list(identityKey))
	case 2:
		return object("display_name", `"c"`, "public_key", public(identityKey), "public_keys", list(identityKey, otherKey))
	default:
		return object("display_name", `"c"`, "public_key", public(otherKey), "public_keys", list(otherKey))
	}
}

// claim is third_party_invite in the content of an invite for a user.
func (g *village) claim(user string) string {
	mxid, token := `"`+user+`"`, `"token"`
	if g.chance(8) {
		mxid = pick(g.dice, `"@frank:y"`, "", `5`)
	}
	if g.chance(8) {
		token = pick(g.dice, `"another"`, "", `""`, `5`)
	}
	extra := ""
	if g.chance(3) {
		extra = `"1"`
	}
	signed := object("mxid", mxid, "token", token, "extra", extra)
	key := identityKey
	if g.chance(8) {
		key = otherKey
	}
	if b, err := pdu.SignJSON([]byte(signed), "id.y", "ed25519:0", key); err != nil {
		panic(err)
	} else if signed = string(b); g.chance(10) {
		signed = strings.Replace(signed, `"ed25519:0"`, `"other:0"`, 1)
	}
	if g.chance(12) {
		signed = pick(g.dice, "", "null", "{}", `"signed"`)
	}
	return object("display_name", pick(g.dice, `"c"`, ""), "signed", signed)
}

// eventIn makes an event that somebody wants to add to a state.
func (g *village) eventIn(p *place, s map[auth.Key]*room.Event) *room.Event {
	d := room.Draft{Sender: pick(g.dice, people...), Prev: []string{"$one:x", "$two:x"}, TS: 1000}
	if g.chance(2) {
		d.Sender = pick(g.dice, "@alice:x", "@bob:x")
	}
	switch g.IntN(20) {
	case 0:
		d.Type, d.StateKey, d.Content = "m.room.topic", room.StateKey(""), `{"topic":"tea"}`
	case 1:
		d.Type, d.Content = "m.room.message", `{"body":"hi","msgtype":"m.text"}`
	case 2:
		d.Type, d.Content = "m.room.redaction", `{}`
		d.Redacts = pick(g.dice, "$by-x:x", "$by-y:y", "$without-a-server")
		d.EventID = pick(g.dice, "$redaction:x", "$redaction:y")
		if g.v.RedactsInContent {
			d.Content, d.Redacts = object("redacts", `"`+d.Redacts+`"`), ""
		}
	case 3:
		d.Type, d.Content = "m.room.aliases", `{"aliases":["#a:x"]}`
		if !g.chance(4) {
			d.StateKey = room.StateKey(pick(g.dice, "x", "y", "z", ""))
		}
	case 4:
		d.Type, d.Content, d.StateKey = "org.example.note", `{}`, room.StateKey(pick(g.dice, people...))
	case 5:
		d.Type, d.Content, d.StateKey = "m.room.third_party_invite", g.invitation(), room.StateKey("new")
	case 6:
		d.Type, d.Content = pick(g.dice, "m.room.join_rules", "m.room.power_levels", "m.room.encryption"), `{}`
		if !g.chance(3) {
			d.StateKey = room.StateKey(pick(g.dice, "", "other", "@alice:x"))
		}
	case 7:
		return g.creation(p, d)
	case 8, 9, 10, 11, 12:
		d.Type, d.StateKey = "m.room.power_levels", room.StateKey("")
		if old := s[auth.Key{Type: d.Type}]; old != nil && !g.chance(5) {
			d.Content = g.edited(p, string(old.Content))
		} else {
			d.Content = g.levels(p, false)
		}
	default:
		g.membership(p, &d)
	}
	return p.event(d)
}

// creation makes a create event. In version 12 it begins another room.
func (g *village) creation(p *place, d room.Draft) *room.Event {
	d.Type, d.StateKey = "m.room.create", room.StateKey("")
	d.Prev = pick(g.dice, nil, nil, nil, []string{"$one:x"})
	additional := ""
	if g.v.Creators {
		additional = pick(g.dice, "", `[]`, `["@bob:x"]`, `["bob"]`, `"@bob:x"`, `[5]`, `null`, `{}`)
	}
	d.Content = object("creator", pick(g.dice, `"@alice:x"`, `"@alice:x"`, "", "5", "null"),
		"room_version", pick(g.dice, `"`+g.v.ID+`"`, "", `"org.example.unheard"`, "5", "null"), "additional_creators", additional)
	d.Apart = true
	return p.event(d)
}

// membership makes a membership event of a draft.
func (g *village) membership(p *place, d *room.Draft) {
	target := d.Sender
	if g.chance(2) {
		target = pick(g.dice, people...)
	}
	d.Type, d.StateKey = "m.room.member", &target
	m := pick(g.dice, memberships...)
	membership := `"` + m + `"`
	var authorised, claim string
	switch {
	case g.chance(40):
		membership = pick(g.dice, "", `"dance"`, "5", "null", `"Join"`)
	case g.chance(60):
		d.StateKey = nil
	case g.chance(60):
		*d.StateKey = pick(g.dice, "", "alice", "@alice", "x")
	}
	if g.chance(10) {
		d.Prev = pick(g.dice, []string{p.create.ID}, []string{p.create.ID}, []string{"$one:x"}, nil)
	}
	if m == "join" && g.chance(2) || g.chance(10) {
		user := pick(g.dice, people...)
		authorised = `"` + user + `"`
		_, d.SignedBy, _ = strings.Cut(user, ":")
		if g.chance(3) {
			authorised, d.SignedBy = pick(g.dice, `""`, `"x"`, "5", "null"), ""
		}
	}
	if m == "invite" && g.chance(2) || g.chance(30) {
		claim = g.claim(target)
		if g.chance(8) {
			claim = pick(g.dice, "null", `"x"`, "[]")
		}
	}
	d.Content = object("membership", membership, "join_authorised_via_users_server", authorised, "third_party_invite", claim)
}
