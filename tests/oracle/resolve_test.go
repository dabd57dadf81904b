package oracle

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
	"github.com/virga-im/virga/tests/oracle/room"
)

// A resolution is a room with states that do not agree.
type resolution struct {
	*room.Room
	*reading
	states []stateres.StateMap
	ours   stateres.StateMap
	theirs stateres.StateMap
	causes *faults // of a difference, once explained was asked
}

func (r *resolution) String() string {
	var b strings.Builder
	for _, e := range slices.SortedFunc(maps.Values(r.Events), func(x, y *room.Event) int { return int(x.OriginServerTS - y.OriginServerTS) }) {
		in := ""
		for i, s := range r.states {
			if s[e.View.Key()] == e.ID {
				in += fmt.Sprint(" ", i+1)
			}
		}
		if r.ours[e.View.Key()] == e.ID {
			in += " ours"
		}
		if r.theirs[e.View.Key()] == e.ID {
			in += " theirs"
		}
		fmt.Fprintf(&b, "  %.8s %d %s %s by %s %s cites %.8s in%s\n", e.ID, e.OriginServerTS, e.Type, *e.StateKey, e.Sender, e.Content, e.AuthEvents, in)
	}
	return b.String()
}

// TestResolution resolves random small rooms. For the algorithms 2 and 2.1 the
// library is no oracle; where it agrees, it is a witness all the same.
func TestResolution(t *testing.T) {
	l := newLedger(t, resolving)
	eachVersion(t, func(t *testing.T, v *roomversion.Version, d dice) {
		for range 500 {
			r := fork(v, d)
			var err error
			if r.ours, _, err = stateres.Resolve(v, r.states, r); err != nil {
				t.Fatal(err)
			}
			if v.StateRes != roomversion.StateResV1 {
				if r.reading = read(r.Room, r.states, 0); !maps.Equal(r.resolved, r.ours) {
					t.Fatalf("version %s: we do not resolve as the specification does:\n%s\nit has %s\nwe have %s", v.ID, r, named(r.resolved), named(r.ours))
				}
			}
			c := &comparison{v: v, library: gmsl, res: r, ours: accepted(named(r.ours))}
			c.theirs = safely(func() outcome {
				var pdus [][]gomatrixserverlib.PDU
				for _, s := range r.states {
					pdus = append(pdus, r.PDUs(s))
				}
				var theirs stateres.StateMap
				var err error
				room.Quietly(func() { theirs, err = r.Resolve(r.Known(r.states...), pdus...) })
				if err != nil {
					return outcome{err: err, panic: strings.HasPrefix(err.Error(), "panic")}
				}
				r.theirs = theirs
				return accepted(named(theirs))
			})
			l.add(c)
		}
	})
	l.close()
}

// explained reports whether the library's answer is that of the specification
// with some faults, this one among them, and not without it.
func (r *resolution) explained(by faults) bool {
	if r.reading == nil || r.theirs == nil {
		return false
	}
	if r.causes == nil {
		// The fewest faults explain best.
		var all []faults
		for f := faults(1); f <= allFaults; f++ {
			all = append(all, f)
		}
		slices.SortStableFunc(all, func(f, g faults) int { return bits.OnesCount8(uint8(f)) - bits.OnesCount8(uint8(g)) })
		r.causes = new(faults)
		for _, f := range all {
			if maps.Equal(read(r.Room, r.states, f).resolved, r.theirs) {
				r.causes = &f
				break
			}
		}
	}
	return *r.causes&by != 0
}

// differsOnlyIn reports whether all keys that differ are of one type.
func (r *resolution) differsOnlyIn(typ string) bool {
	for k, id := range r.ours {
		if r.theirs[k] != id && k.Type != typ {
			return false
		}
	}
	return r.theirs != nil
}

// named writes a state map.
func named(s stateres.StateMap) string {
	var list []string
	for k, id := range s {
		list = append(list, fmt.Sprintf("%s %q %s", k.Type, k.StateKey, id))
	}
	return joined(list)
}

// fork makes a room whose history forks, and whose branches each go their way.
func fork(v *roomversion.Version, d dice) *resolution {
	r := &resolution{Room: room.New(v)}
	users := `{"@alice:x":100,"@bob:x":50,"@carol:y":50}`
	if v.Creators {
		users = `{"@bob:x":50,"@carol:y":50}`
	}
	base := r.Begin(users)
	ts := int64(10)
	for _, user := range people[1:] {
		_, base = r.Room.State(base, "m.room.member", user, user, `{"membership":"join"}`, ts)
		ts++
	}
	base = r.grow(d, base, d.IntN(3), 100)
	for range 2 + d.IntN(2) {
		r.states = append(r.states, r.grow(d, base, 1+d.IntN(4), 200))
	}
	return r
}

// grow adds events to a state that are allowed there.
func (r *resolution) grow(d dice, s stateres.StateMap, n int, ts int64) stateres.StateMap {
	for tries := 0; n > 0 && tries < 50; tries++ {
		sender := pick(d, people...)
		target := pick(d, people...)
		at := ts + int64(d.IntN(40))
		var typ, key, content string
		switch d.IntN(8) {
		case 0:
			typ, content = pick(d, "m.room.topic", "m.room.name"), fmt.Sprintf(`{"topic":"%d"}`, d.IntN(1000))
		case 1, 2:
			levels := map[string]int{}
			for _, u := range people {
				if u == "@alice:x" && r.V.Creators {
					continue
				}
				levels[u] = pick(d, 0, 25, 50, 50, 100)
			}
			if !r.V.Creators {
				levels["@alice:x"] = 100
			}
			var users []string
			for _, u := range slices.Sorted(maps.Keys(levels)) {
				users = append(users, fmt.Sprintf(`"%s":%d`, u, levels[u]))
			}
			typ, content = "m.room.power_levels", `{"users":{`+strings.Join(users, ",")+`}}`
		case 3:
			typ, content = "m.room.join_rules", object("join_rule", pick(d, `"public"`, `"invite"`))
		case 4:
			if target == sender {
				continue // that gomatrixserverlib lets people leave twice is another matter
			}
			typ, key, content = "m.room.member", target, object("membership", pick(d, `"ban"`, `"leave"`, `"invite"`))
		case 5:
			typ, key, content = "m.room.member", sender, object("membership", `"join"`, "displayname", fmt.Sprint(`"`, d.IntN(1000), `"`))
		case 6:
			typ, key, content = "m.room.third_party_invite", pick(d, "t1", "t2"), fmt.Sprintf(`{"display_name":"%d"}`, d.IntN(1000))
		default:
			typ, key, content = "org.example.note", pick(d, "", sender), fmt.Sprintf(`{"n":%d}`, d.IntN(1000))
		}
		e, after := r.Room.State(s, typ, key, sender, content, at)
		before := auth.StateMap{}
		for k, id := range s {
			before[k] = r.Events[id].View
		}
		if auth.Check(r.V, e.View, before) != nil {
			delete(r.Events, e.ID)
			continue
		}
		s = after
		n--
	}
	return s
}
