package auth_test

import (
	"strings"
	"testing"

	"github.com/virga-im/virga/events/auth"
)

// The forms that rooms up to version 9 take for a level, and those they do not.
//
// https://spec.matrix.org/v1.19/rooms/v1/#deprecated-event-content-schemas
func TestFormsOfPowerLevels(t *testing.T) {
	for _, test := range []struct {
		in       string
		level    int64
		from, to int // versions that take it
	}{
		{`50`, 50, 1, 12}, {`-5`, -5, 1, 12}, {`0`, 0, 1, 12}, {`9007199254740991`, 1<<53 - 1, 1, 12},
		{`"50"`, 50, 1, 9}, {`"000100"`, 100, 1, 9}, {`"+100"`, 100, 1, 9}, {`"-100"`, -100, 1, 9}, {`" +00100 "`, 100, 1, 9}, {`"\t7\n"`, 7, 1, 9},
		{`50.57`, 50, 1, 5}, {`-50.57`, -50, 1, 5}, {`5.114698E4`, 51146, 1, 5}, {`1e2`, 100, 1, 5}, {`-0`, 0, 1, 5}, {`1e-5`, 0, 1, 5},
		{`9007199254740993`, 1<<53 + 1, 1, 5},
		{`9223372036854775808`, 1<<63 - 1, 1, 5}, {`9223372036854775808.0`, 1<<63 - 1, 1, 5}, {`1e300`, 1<<63 - 1, 1, 5}, // as high as there is
		{`-9223372036854775809`, -1 << 63, 1, 5}, {`-9223372036854775808.0`, -1 << 63, 1, 5}, {`-1e300`, -1 << 63, 1, 5},
		{`"5.0"`, 0, 0, 0}, {`"1e2"`, 0, 0, 0}, {`"+-1"`, 0, 0, 0}, {`"- 1"`, 0, 0, 0}, {`""`, 0, 0, 0}, {`" "`, 0, 0, 0}, {`"0x10"`, 0, 0, 0},
		{`"1_000"`, 0, 0, 0}, {`"ten"`, 0, 0, 0}, {`true`, 0, 0, 0}, {`null`, 0, 0, 0}, {`[]`, 0, 0, 0}, {`{}`, 0, 0, 0}, {`"Infinity"`, 0, 0, 0},
	} {
		for i, version := range strings.Fields(all) {
			r := newRoom(t, version)
			e, err := r.try("m.room.power_levels", "", alice, `{"users":{"@bob:b.org":`+test.in+`}}`)
			takes := i+1 >= test.from && i+1 <= test.to
			if err != nil {
				if takes {
					t.Errorf("version %s, %s: %v", version, test.in, err)
				}
				continue // not JSON for the version
			}
			if got := auth.Check(r.v, e, r.state) == nil; got != takes {
				t.Errorf("version %s takes %s: %v", version, test.in, got)
			}
			r.state[e.Key()] = e
			if got := auth.Levels(r.v, r.state).UserLevel(bob); takes && got != test.level {
				t.Errorf("version %s: %s is %d", version, test.in, got)
			}
		}
	}
}

// The first power levels of a room up to version 9 may hold anything but users.
// Deployed servers fail on what they cannot read there, so nothing that depends
// on it is allowed.
func TestPowerLevelsThatCannotBeReadAllowNothing(t *testing.T) {
	every(t, "1 5 6 9", func(r *room) {
		r.joinRule("public").member(bob, "join").member(carol, "join").member(dave, "invite")
		for _, bad := range []string{`"ten"`, `true`, `[]`, `{}`} {
			delete(r.state, auth.Key{Type: "m.room.power_levels"})
			r.want(r.event("m.room.power_levels", "", alice, `{"ban":`+bad+`}`), "")
			named := func(name string) {
				r.levels(`{"users":{"@alice:a.org":100,"@bob:b.org":0},"` + name + `":` + bad + `}`)
			}
			named("ban")
			r.wantMember(alice, bob, ban, r.sub(5)+".3")
			r.want(r.event("m.room.topic", "", alice, `{}`), "") // it does not depend on ban
			r.want(r.event("m.room.power_levels", "", alice, `{"users":{"@alice:a.org":100}}`), r.shift(10)+".3.1")
			named("kick")
			r.wantMember(alice, bob, leave, r.sub(4)+".5")
			named("invite")
			r.wantMember(alice, "@new:x", invite, r.sub(3)+".5")
			named("state_default")
			r.want(r.event("m.room.topic", "", alice, `{}`), r.shift(8))
			named("events_default")
			r.want(r.message("m.room.message", alice, `{}`), r.shift(8))
			named("users_default")
			r.want(r.message("m.room.message", alice, `{}`), "")
			r.want(r.message("m.room.message", carol, `{}`), r.shift(8)) // carol has the default
			r.wantMember(alice, carol, leave, r.sub(4)+".5")
			r.wantMember(alice, carol, ban, r.sub(5)+".3")
			if bad == `{}` {
				continue
			}
			r.levels(`{"users":{"@alice:a.org":100},"events":` + bad + `}`)
			r.want(r.message("m.room.message", alice, `{}`), r.shift(8))
			r.levels(`{"users":{"@alice:a.org":100},"events":{"m.x":` + bad + `}}`)
			r.want(r.message("m.x", alice, `{}`), r.shift(8))
			r.want(r.message("m.y", alice, `{}`), "")
			r.want(r.event("m.room.power_levels", "", alice, `{"users":{"@alice:a.org":100}}`), r.shift(10)+".4.1")
		}
		// null is as good as nothing, except in a change.
		r.levels(`{"users":{"@alice:a.org":100},"ban":null,"users_default":null,"events_default":null,"events":{"m.x":null}}`)
		r.wantMember(alice, bob, ban, "")
		r.want(r.message("m.x", carol, `{}`), "")
		r.want(r.event("m.room.power_levels", "", alice, `{"users":{"@alice:a.org":100}}`), r.shift(10)+".3.1")
	})
}

// A level that was not there is not compared, neither the old nor the new one:
// Synapse reads rules 9.3 and its like so, though its default decides what the
// level is. ruma and Dendrite compare with the default.
func TestLevelsThatAreAbsentAreNotCompared(t *testing.T) {
	every(t, all, func(r *room) {
		r.levels(`{"users":{"@bob:b.org":40},"events":{"m.room.power_levels":40}}`).member(bob, "join")
		r.want(r.event("m.room.power_levels", "", bob, `{"users":{"@bob:b.org":40},"events":{"m.room.power_levels":40},"kick":30}`), "")
		r.levels(`{"users":{"@bob:b.org":40},"events":{"m.room.power_levels":40},"kick":30}`)
		r.want(r.event("m.room.power_levels", "", bob, `{"users":{"@bob:b.org":40},"events":{"m.room.power_levels":40}}`), "")
	})
}

func TestJoinRuleThatIsNoStringLetsNobodyIn(t *testing.T) {
	every(t, all, func(r *room) {
		n := r.sub(2) + ".6"
		if r.v.Restricted {
			n = r.sub(2) + ".7"
		}
		r.member(bob, "invite")
		for _, bad := range []string{`1`, `null`, `["public"]`, `""`, `"Public"`, `"private"`} {
			r.set("m.room.join_rules", "", alice, `{"join_rule":`+bad+`}`)
			r.wantMember(bob, bob, join, n)
		}
		r.set("m.room.join_rules", "", alice, `{}`)
		r.wantMember(bob, bob, join, "")
		r.wantMember(carol, carol, join, n)
	})
}

func TestOnlyJoinsNeedWhoeverAuthorisedThem(t *testing.T) {
	every(t, "8 9 10 11 12", func(r *room) {
		r.member(bob, "join").joinRule("public")
		for _, user := range []string{`1`, `"b.org"`, `"@x:b.org"`} {
			via := func(membership string) string {
				return `{"membership":"` + membership + `","join_authorised_via_users_server":` + user + `}`
			}
			r.wantMember(alice, bob, via("ban"), "")
			r.wantMember(bob, bob, via("leave"), "")
			r.wantMember(alice, carol, via("invite"), "")
			if got := auth.Signers(r.v, r.event("m.room.member", bob, alice, via("ban"))); len(got) != 1 || got[0] != "a.org" {
				t.Errorf("signers of a ban: %v", got)
			}
			if want := map[bool]string{true: "", false: r.memberRule() + ".2.1"}[user == `"@x:b.org"`]; want != "" {
				r.wantMember(dave, dave, via("join"), want)
			}
		}
	})
}
