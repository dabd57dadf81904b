package auth_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/virga-im/virga/events/auth"
)

// shift gives the number that a rule of versions 1 to 5 and 12 has in r.
func (r *room) shift(n int) string {
	if r.memberRule() == "4" {
		n--
	}
	return fmt.Sprint(n)
}

func TestOnlyMembersSpeak(t *testing.T) {
	every(t, all, func(r *room) {
		for _, membership := range []string{"invite", "leave", "ban", "knock"} {
			r.member(bob, membership)
			r.want(r.message("m.room.message", bob, `{}`), r.shift(6))
		}
		r.member(bob, "join")
		r.want(r.message("m.room.message", bob, `{}`), "")
	})
}

func TestThirdPartyInviteNeedsInviteLevel(t *testing.T) {
	every(t, all, func(r *room) {
		r.levels(moderate).member(bob, "join").member(carol, "join")
		r.want(r.event("m.room.third_party_invite", "t", bob, `{}`), "")
		r.want(r.event("m.room.third_party_invite", "t", carol, `{}`), r.shift(7)+".1")
	})
}

func TestRequiredPowerLevel(t *testing.T) {
	every(t, all, func(r *room) {
		r.member(bob, "join")
		r.want(r.event("m.room.topic", "", bob, `{}`), r.shift(8)) // state_default is 50 without power levels
		r.want(r.event("m.room.topic", "", alice, `{}`), "")       // the creator has 100, or infinity
		r.levels(`{"users":{"@bob:b.org":10},"events":{"m.x":20,"m.y":10},"events_default":15,"state_default":5}`)
		r.want(r.message("m.x", bob, `{}`), r.shift(8))
		r.want(r.message("m.y", bob, `{}`), "")
		r.want(r.message("m.z", bob, `{}`), r.shift(8))
		r.want(r.event("m.z", "", bob, `{}`), "")
	})
}

func TestStateOfAUserIsTheirs(t *testing.T) {
	every(t, all, func(r *room) {
		r.want(r.event("m.x", alice, alice, `{}`), "")
		r.want(r.event("m.x", bob, alice, `{}`), r.shift(9))
		r.want(r.event("m.x", "bob", alice, `{}`), "")
	})
}

func TestPowerLevelsMustBeWellFormed(t *testing.T) {
	check := func(versions, content, rule string) {
		t.Helper()
		every(t, versions, func(r *room) { r.want(r.event("m.room.power_levels", "", alice, content), rule) })
	}
	old, strict := "1 5 6 9", "10 11"
	check(old, `{"users":{"@bob:b.org":"50"}}`, "")
	check(strict, `{"users":{"@bob:b.org":"50"}}`, "9.3")
	check("12", `{"users":{"@bob:b.org":"50"}}`, "10.3")
	check("1 5", `{"users":{"bob":50}}`, "10.1")
	check("6 9", `{"users":{"bob":50}}`, "9.1")
	check(strict, `{"users":{"bob":50}}`, "9.3")
	check("1 5", `{"users":[]}`, "10.1")
	check("1 5", `{"users":{"@bob:b.org":50.57}}`, "")
	check("6 9", `{"users":{"@bob:b.org":" +0050 "}}`, "")
	check("6 9", `{"users":{"@bob:b.org":"5.0"}}`, "9.1")
	check("6 9", `{"users":{"@bob:b.org":null}}`, "9.1")
	check(old, `{"ban":"50"}`, "")
	check(strict, `{"ban":"50"}`, "9.1")
	check("12", `{"ban":"50"}`, "10.1")
	check(strict, `{"ban":null}`, "9.1")
	check(strict, `{"events":{"x":"1"}}`, "9.2")
	check(strict, `{"notifications":[]}`, "9.2")
	check("12", `{"notifications":{"room":true}}`, "10.2")
	check("12", `{"users":{"@alice:a.org":100}}`, "10.4")
	check(all, `{}`, "")
}

func TestPowerLevelChanges(t *testing.T) {
	const was = `{"users":{"@bob:b.org":50,"@carol:c.org":50,"@dave:a.org":20},"events":{"m.x":60,"m.y":40,"m.room.power_levels":50},"notifications":{"room":60},"ban":60,"kick":40,"state_default":50}`
	change := func(from, to string) string {
		t.Helper()
		s := was
		for i := 0; i+len(from) <= len(s); i++ {
			if s[i:i+len(from)] == from {
				return s[:i] + to + s[i+len(from):]
			}
		}
		t.Fatalf("no %s", from)
		return ""
	}
	for _, test := range []struct {
		content string
		n       int // sub-rule in versions 1 to 9; 0 is allowed
	}{
		{was, 0},
		{change(`"ban":60`, `"ban":50`), 3},
		{change(`"ban":60,`, ``), 3},
		{change(`"kick":40`, `"kick":50`), 0},
		{change(`"kick":40`, `"kick":51`), 3},
		{change(`"kick":40`, `"invite":51,"kick":40`), 3},
		{change(`"m.x":60`, `"m.x":50`), 4},
		{change(`"m.x":60,`, ``), 4},
		{change(`"m.y":40`, `"m.y":50`), 0},
		{change(`"m.y":40`, `"m.y":51`), 5},
		{change(`"m.y":40`, `"m.new":51,"m.y":40`), 5},
		{change(`"@carol:c.org":50`, `"@carol:c.org":20`), 6},
		{change(`"@carol:c.org":50,`, ``), 6},
		{change(`"@bob:b.org":50`, `"@bob:b.org":20`), 0}, // own level down
		{change(`"@bob:b.org":50`, `"@bob:b.org":51`), 7}, // own level up
		{change(`"@dave:a.org":20`, `"@dave:a.org":50`), 0},
		{change(`"@dave:a.org":20`, `"@dave:a.org":51`), 7},
		{change(`"@dave:a.org":20`, `"@dave:a.org":20,"@new:x":51`), 7},
		{change(`"@dave:a.org":20`, `"@dave:a.org":20,"@new:x":50`), 0},
	} {
		every(t, all, func(r *room) {
			r.levels(was).member(bob, "join")
			n := test.n
			if r.v.IntegerLevels && n > 0 {
				n += 2
			}
			if r.v.Creators && n > 0 {
				n++
			}
			rule := ""
			if n > 0 {
				rule = r.shift(10) + "." + fmt.Sprint(n)
			}
			err := auth.Check(r.v, r.event("m.room.power_levels", "", bob, test.content), r.state)
			got := ""
			if e, ok := err.(*auth.Error); ok {
				got = e.Rule[:len(e.Rule)-2]
			}
			if got != rule {
				t.Errorf("version %s, %s: %v, want %q", r.v.ID, test.content, err, rule)
			}
		})
	}
	for v, rule := range map[string]string{"5": "", "6": "9.4.1"} {
		r := newRoom(t, v).levels(was).member(bob, "join")
		r.want(r.event("m.room.power_levels", "", bob, change(`"room":60`, `"room":5`)), rule)
	}
	r := newRoom(t, "9").levels(was).member(bob, "join")
	r.want(r.event("m.room.power_levels", "", bob, change(`"ban":60`, `"ban":"060"`)), "") // the same level
}

func TestRedactionRuleOfVersions1And2(t *testing.T) {
	redaction := func(r *room, redacts string) *auth.View {
		e := r.message("m.room.redaction", bob, `{}`)
		e.Redacts = redacts
		return e
	}
	every(t, "1 2", func(r *room) {
		r.member(bob, "join")
		r.want(redaction(r, "$x:b.org"), "")
		r.want(redaction(r, "$x:c.org"), "11.3")
		r.levels(`{"users":{"@bob:b.org":50}}`)
		r.want(redaction(r, "$x:c.org"), "")
	})
	every(t, "3 6 11 12", func(r *room) {
		r.member(bob, "join")
		r.want(redaction(r, "$x:c.org"), "")
		p := auth.Levels(r.v, r.state)
		if p.MayRedact(bob, carol) || !p.MayRedact(bob, "@other:b.org") || !p.MayRedact(alice, carol) {
			t.Error("MayRedact is wrong")
		}
		r.levels(`{"users":{"@bob:b.org":50}}`)
		if p := auth.Levels(r.v, r.state); !p.MayRedact(bob, carol) {
			t.Error("the redact level is not enough to redact")
		}
	})
}

func TestCreatorsStandAboveAllLevels(t *testing.T) {
	r := newRoom(t, "12")
	r.set("m.room.create", "", alice, `{"room_version":"12","additional_creators":["@bob:b.org"]}`)
	r.levels(`{"users":{"@carol:c.org":9007199254740991},"events":{"m.x":9007199254740991}}`).member(bob, "join").member(carol, "join")
	r.want(r.message("m.x", bob, `{}`), "")
	r.wantMember(bob, carol, ban, "")
	r.wantMember(carol, bob, ban, "5.6.3")
	r.wantMember(alice, bob, leave, "5.5.5") // creators are equal
	r.want(r.event("m.room.power_levels", "", alice, `{"users":{"@bob:b.org":1}}`), "10.4")
	r.want(r.event("m.room.power_levels", "", alice, `{"users":{}}`), "")
	p := auth.Levels(r.v, r.state)
	if p.UserLevel(alice) != auth.Infinite || p.UserLevel(bob) != auth.Infinite || !p.IsCreator(bob) || p.IsCreator(carol) {
		t.Error("creators are not infinite")
	}
}

func TestPowerLevelDefaults(t *testing.T) {
	every(t, "1 6 10 11", func(r *room) {
		p := auth.Levels(r.v, r.state)
		got := []int64{p.UserLevel(alice), p.UserLevel(bob), p.EventLevel("x", true), p.EventLevel("x", false), p.Ban(), p.Kick(), p.Redact(), p.Invite(), p.Notification("room")}
		if want := []int64{100, 0, 50, 0, 50, 50, 50, 0, 50}; !reflect.DeepEqual(got, want) {
			t.Errorf("version %s without power levels: %v", r.v.ID, got)
		}
		r.levels(`{"users":{"@bob:b.org":5},"users_default":2,"notifications":{"room":7},"events":{"x":9}}`)
		p = auth.Levels(r.v, r.state)
		got = []int64{p.UserLevel(alice), p.UserLevel(bob), p.EventLevel("x", true), p.EventLevel("y", true), p.Notification("room"), p.UsersDefault()}
		if want := []int64{2, 5, 9, 50, 7, 2}; !reflect.DeepEqual(got, want) {
			t.Errorf("version %s: %v", r.v.ID, got)
		}
	})
}

// A client is told apart what it may not do (M_FORBIDDEN) from what nobody may
// (M_BAD_JSON).
func TestMalformedIsNotForbidden(t *testing.T) {
	every(t, all, func(r *room) {
		r.member(bob, "join")
		for _, test := range []struct {
			e         *auth.View
			malformed bool
		}{
			{r.event("m.room.topic", "", bob, `{}`), false},
			{r.event("m.room.member", carol, bob, ban), false},
			{r.event("m.room.member", bob, bob, `{}`), true},
			{r.event("m.room.member", bob, bob, `{"membership":"wave"}`), true},
			{r.event("m.room.power_levels", "", alice, `{"users":[]}`), true},
			{r.event("m.room.create", "", alice, `{"creator":"@alice:a.org","room_version":"99"}`), true},
		} {
			var rejection *auth.Error
			if err := auth.Check(r.v, test.e, r.state); !errors.As(err, &rejection) || rejection.Malformed != test.malformed {
				t.Errorf("version %s, %s: %v", r.v.ID, test.e.Type, err)
			}
		}
	})
}

func TestCanSendAtTheLevelItself(t *testing.T) {
	every(t, all, func(r *room) {
		p := auth.Levels(r.v, r.levels(`{"users":{"@bob:b.org":9},"events":{"at":9,"above":10}}`).state)
		if !p.CanSend(bob, "at", true) || p.CanSend(bob, "above", true) || p.CanSend(carol, "at", true) {
			t.Errorf("version %s: CanSend is wrong", r.v.ID)
		}
	})
}

func TestAuthEventsSelection(t *testing.T) {
	every(t, all, func(r *room) {
		r.joinRule("public").levels(`{}`).member(bob, "join").member(carol, "join")
		get := func(typ, key string) *auth.View { return r.state[auth.Key{Type: typ, StateKey: key}] }
		create, levels, mine := get("m.room.create", ""), get("m.room.power_levels", ""), get("m.room.member", bob)
		n := "2"
		var right []*auth.View
		if r.v.HashRoomIDs {
			n, right = "3", []*auth.View{levels, mine}
		} else {
			right = []*auth.View{create, levels, mine}
		}
		want := func(rule string, cited ...*auth.View) {
			t.Helper()
			e := r.message("m.room.message", bob, `{}`)
			for _, a := range cited {
				e.AuthEvents = append(e.AuthEvents, a.ID)
			}
			err := auth.CheckAuthEvents(r.v, e, cited)
			got := ""
			if rejection, ok := err.(*auth.Error); ok {
				got = rejection.Rule
			}
			if got != rule {
				t.Errorf("version %s: %v, want %q", r.v.ID, err, rule)
			}
		}
		want("", right...)
		want(n+".2", append(right, get("m.room.join_rules", ""))...)
		want(n+".2", append(right, get("m.room.member", carol))...)
		twin := r.event("m.room.member", bob, bob, join)
		want(n+".1", append(right, twin)...)
		foreign := r.event("m.room.member", bob, bob, join)
		foreign.Room = "!other:a.org"
		want(n+".5", append(right[:len(right)-1:len(right)-1], foreign)...)
		rejected := r.event("m.room.member", bob, bob, join)
		rejected.Rejected = true
		want(n+".3", append(right[:len(right)-1:len(right)-1], rejected)...)
		if r.v.HashRoomIDs {
			want("3.2", append(right, create)...)
		} else {
			want("2.4", levels, mine)
		}
		e := r.message("m.room.message", bob, `{}`)
		e.AuthEvents = []string{"$unknown"}
		if auth.CheckAuthEvents(r.v, e, nil) == nil {
			t.Error("an unknown auth event passed")
		}
		reads := auth.Reads(r.v, e)
		if len(reads) != 3 {
			t.Errorf("version %s reads %v", r.v.ID, reads)
		}
	})
}

func TestViewsSurviveTheStore(t *testing.T) {
	r := newRoom(t, "12")
	views := []*auth.View{
		r.event("m.room.power_levels", "", alice, `{"users":{"@bob:b.org":50},"events":{"x":1},"ban":7,"z":1}`),
		r.event("m.room.member", bob, bob, `{"membership":"join","displayname":"x","join_authorised_via_users_server":"@x:y","third_party_invite":{"signed":{"mxid":"@a:b","token":"t","signatures":{"x":{"ed25519:1":"AAAA"}}}}}`),
		r.event("m.room.create", "", alice, `{"additional_creators":["@b:c"],"m.federate":false,"room_version":"12"}`),
		r.event("m.room.third_party_invite", "t", alice, `{"public_key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`),
		r.event("m.room.join_rules", "", alice, `{"join_rule":"public"}`),
		r.message("m.room.message", alice, `{"body":"x"}`),
	}
	for _, e := range views {
		e.AuthEvents = []string{"$a", "$b"}
		e.Rejected = e.Type == "m.room.member"
		e.Generation = int64(len(e.Type)) << 20
		got, err := auth.Decode(e.Encode())
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%v\n got %+v\nwant %+v", err, got, e)
		}
		for i := range e.Encode() {
			if _, err := auth.Decode(e.Encode()[:i]); err == nil {
				t.Fatalf("%s: %d bytes decode", e.Type, i)
			}
		}
	}
}

func BenchmarkCheckMessage(b *testing.B) {
	r := newRoom(b, "12").levels(moderate).joinRule("public").member(bob, "join")
	e := r.message("m.room.message", bob, `{}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := auth.Check(r.v, e, r.state); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckJoin(b *testing.B) {
	r := newRoom(b, "12").levels(moderate).joinRule("public")
	e := r.event("m.room.member", bob, bob, join)
	b.ReportAllocs()
	for b.Loop() {
		if err := auth.Check(r.v, e, r.state); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkViewAndNeeded(b *testing.B) {
	r := newRoom(b, "12")
	raw := r.event("m.room.member", bob, bob, join).Encode()
	b.ReportAllocs()
	for b.Loop() {
		e, err := auth.Decode(raw)
		if err != nil {
			b.Fatal(err)
		}
		auth.Needed(r.v, e)
	}
}
