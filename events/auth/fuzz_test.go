package auth_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
)

// FuzzCheck judges an event by a state, both made of bytes. Each line of the state
// is an event: its type, state key, sender and content.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		`["m.room.power_levels","","@bob:b.org",{"users":{"@bob:b.org":"50"},"ban":1e3,"events":{"m.room.member":null}}]`,
		`["m.room.member","@bob:b.org","@bob:b.org",{"membership":"join","join_authorised_via_users_server":"@alice:a.org"}]`,
		`["m.room.member","@carol:c.org","@bob:b.org",{"membership":"invite","third_party_invite":{"signed":{"mxid":"@carol:c.org","token":"t","signatures":{"x":{"ed25519:1":"AAAA"}}}}}]`,
		`["m.room.third_party_invite","t","@bob:b.org",{"public_key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","public_keys":[{},1]}]`,
		`["m.room.join_rules","","@alice:a.org",{"join_rule":"knock_restricted"}]`,
		`["m.room.create","","@alice:a.org",{"creator":"@alice:a.org","additional_creators":["@bob:b.org"],"m.federate":true,"room_version":"1"}]`,
		`["m.room.aliases","b.org","@bob:b.org",{}]`,
		`["m.room.redaction","","@bob:b.org",{"redacts":"$x:b.org"}]`,
	} {
		f.Add([]byte(seed), []byte(`["m.room.member","@bob:b.org","@bob:b.org",{"membership":"join"}]`+"\n"+seed), uint8(1))
	}
	f.Fuzz(func(t *testing.T, event, lines []byte, bits uint8) {
		for _, v := range roomversion.All() {
			r := newRoom(t, v.ID)
			e := r.fromBytes(event)
			if e == nil {
				continue
			}
			e.State = bits&1 != 0
			e.PrevEvents, e.OnlyPrev = int(bits>>1&3), r.state[auth.Key{Type: "m.room.create"}].ID
			for line := range bytes.Lines(lines) {
				if s := r.fromBytes(line); s != nil {
					s.Rejected = bits&8 != 0
					r.state[s.Key()] = s
				}
			}
			first := auth.Check(v, e, r.state)
			known(t, v, first)
			stored := auth.StateMap{}
			for k, s := range r.state {
				stored[k] = store(t, s)
			}
			second := auth.Check(v, store(t, e), stored)
			if !reflect.DeepEqual(first, second) && (first == nil || second == nil || first.(*auth.Error).Rule != second.(*auth.Error).Rule) {
				t.Fatalf("version %s: stored views are judged otherwise: %v, %v", v.ID, first, second)
			}
			var cited []*auth.View
			for _, s := range r.state {
				cited = append(cited, s)
				if len(e.AuthEvents) < pdu.MaxAuthEvents {
					e.AuthEvents = append(e.AuthEvents, s.ID)
				}
			}
			known(t, v, auth.CheckAuthEvents(v, e, cited))
			// What the rules read is what they said they would.
			few := auth.StateMap{}
			for _, k := range auth.Reads(v, e) {
				if s := r.state[k]; s != nil {
					few[k] = s
				}
			}
			if third := auth.Check(v, e, few); (first == nil) != (third == nil) {
				t.Fatalf("version %s: by what Reads names %v, by all state %v", v.ID, third, first)
			}
			auth.Signers(v, e)
		}
	})
}

// fromBytes is the event of a line, or nil when it is none.
func (r *room) fromBytes(line []byte) *auth.View {
	var fields []json.RawMessage
	var typ, key, sender string
	if json.Unmarshal(line, &fields) != nil || len(fields) != 4 ||
		json.Unmarshal(fields[0], &typ) != nil || json.Unmarshal(fields[1], &key) != nil || json.Unmarshal(fields[2], &sender) != nil {
		return nil
	}
	r.n++
	e, err := auth.ViewOfBuilder(r.v, &pdu.Builder{Type: typ, StateKey: &key, Sender: sender, RoomID: r.id(), Content: fields[3], EventID: "$" + string(rune('a'+r.n%26)) + ":b.org", Redacts: "$x:b.org"})
	if err != nil {
		return nil
	}
	return e
}

// known fails if an error is no rejection by a rule of the version.
func known(t *testing.T, v *roomversion.Version, err error) {
	t.Helper()
	var rejection *auth.Error
	if err != nil && (!errors.As(err, &rejection) || !slices.Contains(auth.Rules(v), rejection.Rule)) {
		t.Fatalf("version %s has no such rule: %v", v.ID, err)
	}
}

func store(t *testing.T, e *auth.View) *auth.View {
	t.Helper()
	decoded, err := auth.Decode(e.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

// FuzzDecode: whatever the store gives back, nothing panics, and the rules give an
// answer that is one.
func FuzzDecode(f *testing.F) {
	r := newRoom(f, "12").levels(`{"users":{"@bob:b.org":50}}`).joinRule("knock")
	for _, e := range r.state {
		e.AuthEvents = []string{"$a", "$b"}
		f.Add(e.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := auth.Decode(b)
		if err != nil {
			return
		}
		store(t, e)
		for _, v := range roomversion.All() {
			state := auth.StateMap{e.Key(): e}
			known(t, v, auth.Check(v, e, state))
			known(t, v, auth.CheckAuthEvents(v, e, []*auth.View{e, nil}))
			auth.Levels(v, state).CanSend(e.Sender, e.Type, e.State)
		}
	})
}
