package auth_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
)

const (
	alice   = "@alice:a.org" // the creator
	bob     = "@bob:b.org"
	carol   = "@carol:c.org"
	dave    = "@dave:a.org"
	v12Room = "!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ"
)

// room is a room state to which a test adds what it needs.
type room struct {
	t     testing.TB
	v     *roomversion.Version
	state auth.StateMap
	n     int
}

func newRoom(t testing.TB, version string) *room {
	t.Helper()
	v, ok := roomversion.Get(version)
	if !ok {
		t.Fatalf("no room version %s", version)
	}
	r := &room{t: t, v: v, state: auth.StateMap{}}
	r.set("m.room.create", "", alice, fmt.Sprintf(`{"creator":%q,"room_version":%q}`, alice, version))
	r.member(alice, "join")
	return r
}

func (r *room) id() string {
	if r.v.HashRoomIDs {
		return v12Room
	}
	return "!room:a.org"
}

// event makes a view of a state event.
func (r *room) event(typ, key, sender, content string) *auth.View {
	r.t.Helper()
	e := r.message(typ, sender, content)
	e.State, e.StateKey = true, key
	return e
}

// try is event for content that the room version may refuse as JSON.
func (r *room) try(typ, key, sender, content string) (*auth.View, error) {
	e, err := auth.ViewOfBuilder(r.v, &pdu.Builder{Type: typ, RoomID: r.id(), Sender: sender, StateKey: &key, Content: json.RawMessage(content)})
	return e, err
}

func (r *room) message(typ, sender, content string) *auth.View {
	r.t.Helper()
	r.n++
	e, err := auth.ViewOfBuilder(r.v, &pdu.Builder{
		Type: typ, RoomID: r.id(), Sender: sender, Content: json.RawMessage(content), PrevEvents: []string{"$a", "$b"},
		EventID: fmt.Sprintf("$%d:%s", r.n, id.Server(sender)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if typ == "m.room.create" {
		e.PrevEvents = 0
		if r.v.HashRoomIDs {
			e.ID = "$" + v12Room[1:]
		}
	}
	return e
}

func (r *room) set(typ, key, sender, content string) *auth.View {
	r.t.Helper()
	e := r.event(typ, key, sender, content)
	r.state[e.Key()] = e
	return e
}

func (r *room) member(user, membership string) *room {
	r.t.Helper()
	r.set("m.room.member", user, user, fmt.Sprintf(`{"membership":%q}`, membership))
	return r
}

func (r *room) joinRule(rule string) *room {
	r.t.Helper()
	r.set("m.room.join_rules", "", alice, fmt.Sprintf(`{"join_rule":%q}`, rule))
	return r
}

func (r *room) levels(content string) *room {
	r.t.Helper()
	r.set("m.room.power_levels", "", alice, content)
	return r
}

// want checks an event: rule is "" for one that is allowed.
func (r *room) want(e *auth.View, rule string) {
	r.t.Helper()
	err := auth.Check(r.v, e, r.state)
	var rejection *auth.Error
	switch {
	case err == nil && rule == "":
	case errors.As(err, &rejection) && rejection.Rule == rule:
	default:
		r.t.Errorf("version %s, %s: %v, want rule %q", r.v.ID, e.Type, err, rule)
	}
}

func (r *room) wantMember(sender, target, content, rule string) {
	r.t.Helper()
	r.want(r.event("m.room.member", target, sender, content), rule)
}

// every runs a test in rooms of several versions.
func every(t *testing.T, versions string, f func(*room)) {
	t.Helper()
	for _, v := range strings.Fields(versions) {
		f(newRoom(t, v))
	}
}

const (
	all      = "1 2 3 4 5 6 7 8 9 10 11 12"
	join     = `{"membership":"join"}`
	invite   = `{"membership":"invite"}`
	leave    = `{"membership":"leave"}`
	ban      = `{"membership":"ban"}`
	knock    = `{"membership":"knock"}`
	moderate = `{"users":{"@bob:b.org":50,"@dave:a.org":50},"invite":50}`
)

// memberRule is the number of the rule for m.room.member.
func (r *room) memberRule() string {
	if r.v.HashRoomIDs || r.v.AliasesRule {
		return "5"
	}
	return "4"
}

func (r *room) sub(n int) string {
	if r.v.Restricted {
		n++
	}
	return fmt.Sprintf("%s.%d", r.memberRule(), n)
}

func TestCreate(t *testing.T) {
	every(t, all, func(r *room) {
		create := func(content string) *auth.View { return r.event("m.room.create", "", alice, content) }
		ok := `{"creator":"@alice:a.org"}`
		r.want(create(ok), "")
		late := create(ok)
		late.PrevEvents = 1
		r.want(late, "1.1")
		r.want(create(`{"creator":"@alice:a.org","room_version":"99"}`), "1.3")
		r.want(create(`{"creator":"@alice:a.org","room_version":12}`), "1.3")
		elsewhere := create(ok)
		elsewhere.Room = "!room:b.org"
		r.want(elsewhere, "1.2")
		if r.v.SenderCreates {
			r.want(create(`{}`), "")
		} else {
			r.want(create(`{}`), "1.4")
		}
	})
	every(t, "12", func(r *room) {
		r.want(r.event("m.room.create", "", alice, `{"additional_creators":["@bob:b.org"]}`), "")
		for _, bad := range []string{`"@bob:b.org"`, `[1]`, `["bob"]`, `{}`, `null`, `["@bob"]`} {
			r.want(r.event("m.room.create", "", alice, `{"additional_creators":`+bad+`}`), "1.4")
		}
	})
	every(t, "11", func(r *room) {
		r.want(r.event("m.room.create", "", alice, `{"additional_creators":1}`), "")
	})
}

func TestRoomWithoutCreateEventTakesNothing(t *testing.T) {
	every(t, all, func(r *room) {
		delete(r.state, auth.Key{Type: "m.room.create"})
		rule := "2.4"
		if r.v.HashRoomIDs {
			rule = "2"
		}
		r.want(r.message("m.room.message", alice, `{}`), rule)
	})
	every(t, "12", func(r *room) {
		e := r.message("m.room.message", alice, `{}`)
		e.Room = "!" + strings.Repeat("x", 43)
		r.want(e, "2")
		r.state.Lookup(auth.Key{Type: "m.room.create"}).Rejected = true
		r.want(r.message("m.room.message", alice, `{}`), "2")
	})
}

func TestUnfederatedRoomRejectsOtherServers(t *testing.T) {
	every(t, all, func(r *room) {
		r.set("m.room.create", "", alice, `{"creator":"@alice:a.org","m.federate":false}`)
		r.joinRule("public").member(bob, "join")
		rule := "3"
		if r.v.HashRoomIDs {
			rule = "4"
		}
		r.want(r.message("m.room.message", bob, `{}`), rule)
		r.wantMember(carol, carol, join, rule)
		r.wantMember(dave, dave, join, "")
	})
}

func TestAliasesHaveARuleOfTheirOwnUntilVersion5(t *testing.T) {
	every(t, "1 2 3 4 5", func(r *room) {
		r.want(r.event("m.room.aliases", "b.org", bob, `{}`), "") // not a member
		r.want(r.event("m.room.aliases", "a.org", bob, `{}`), "4.2")
		r.want(r.message("m.room.aliases", bob, `{}`), "4.1")
	})
	every(t, "6 7 8 9 10 11", func(r *room) { r.want(r.event("m.room.aliases", "b.org", bob, `{}`), "5") })
	every(t, "12", func(r *room) { r.want(r.event("m.room.aliases", "b.org", bob, `{}`), "6") })
}

func TestCreatorJoinsFirst(t *testing.T) {
	every(t, all, func(r *room) {
		create := r.state[auth.Key{Type: "m.room.create"}]
		r.state = auth.StateMap{create.Key(): create}
		e := r.event("m.room.member", alice, alice, join)
		r.want(e, r.sub(2)+"."+fmt.Sprint(map[bool]int{false: 6, true: 7}[r.v.Restricted]))
		e.PrevEvents, e.OnlyPrev = 1, create.ID
		r.want(e, "")
		other := r.event("m.room.member", bob, bob, join)
		other.PrevEvents, other.OnlyPrev = 1, create.ID
		r.want(other, r.sub(2)+"."+fmt.Sprint(map[bool]int{false: 6, true: 7}[r.v.Restricted]))
	})
}

func TestBannedUserCannotJoin(t *testing.T) {
	every(t, all, func(r *room) {
		r.joinRule("public").member(bob, "ban")
		r.wantMember(bob, bob, join, r.sub(2)+".3")
	})
}

func TestNobodyJoinsForSomeoneElse(t *testing.T) {
	every(t, all, func(r *room) {
		r.joinRule("public")
		r.wantMember(bob, carol, join, r.sub(2)+".2")
	})
}

func TestMembershipMustBeSaid(t *testing.T) {
	every(t, all, func(r *room) {
		r.wantMember(alice, alice, `{}`, r.memberRule()+".1")
		r.wantMember(alice, alice, `{"Membership":"join"}`, r.memberRule()+".1")
		r.wantMember(alice, alice, `{"membership":1}`, r.memberRule()+".1")
		r.wantMember(alice, "alice", join, r.memberRule()+".1")
		r.want(r.message("m.room.member", alice, join), r.memberRule()+".1")
		last := 6
		if r.v.Knock {
			last = 7
		}
		r.wantMember(alice, alice, `{"membership":"wave"}`, r.sub(last))
	})
}

func TestJoinRules(t *testing.T) {
	for _, test := range []struct {
		rule, from string // the rule works from this version on
		invited    bool   // an invite lets in
		stranger   bool   // a stranger gets in
	}{
		{"public", "1", true, true},
		{"invite", "1", true, false},
		{"knock", "7", true, false},
		{"restricted", "8", true, false},
		{"knock_restricted", "10", true, false},
		{"private", "99", false, false},
	} {
		works := false
		for _, version := range strings.Fields(all) {
			works = works || version == test.from
			for membership, allowed := range map[string]bool{
				"invite": works && test.invited, "join": works && test.invited, "leave": works && test.stranger, "knock": works && test.stranger,
			} {
				r := newRoom(t, version).joinRule(test.rule).member(bob, membership)
				err := auth.Check(r.v, r.event("m.room.member", bob, bob, join), r.state)
				if (err == nil) != allowed {
					t.Errorf("version %s, join rule %s, from %s: %v", version, test.rule, membership, err)
				}
			}
		}
	}
}

func TestRestrictedJoinNeedsSomeoneWhoMayInvite(t *testing.T) {
	every(t, "8 9 10 11 12", func(r *room) {
		r.joinRule("restricted").levels(moderate).member(bob, "join").member(carol, "join")
		via := func(user string) string {
			return fmt.Sprintf(`{"membership":"join","join_authorised_via_users_server":%q}`, user)
		}
		n := r.memberRule()
		r.wantMember(dave, dave, via(bob), "")
		r.wantMember(dave, dave, via(carol), n+".3.5.2")          // may not invite
		r.wantMember(dave, dave, via("@ghost:b.org"), n+".3.5.2") // not in the room
		r.wantMember(dave, dave, join, n+".3.5.2")
		r.wantMember(dave, dave, `{"membership":"join","join_authorised_via_users_server":1}`, n+".2.1")
		e := r.event("m.room.member", dave, dave, via(bob))
		if got := auth.Signers(r.v, e); !reflect.DeepEqual(got, []string{"a.org", "b.org"}) {
			t.Errorf("signers %v", got)
		}
		if !slices.Contains(auth.Needed(r.v, e), auth.Key{Type: "m.room.member", StateKey: bob}) {
			t.Error("the authorising user's membership is not selected")
		}
	})
}

func TestInvite(t *testing.T) {
	every(t, all, func(r *room) {
		r.levels(moderate).member(bob, "join").member(carol, "join")
		r.wantMember(bob, dave, invite, "")
		r.wantMember(carol, dave, invite, r.sub(3)+".5")
		r.wantMember("@x:y", dave, invite, r.sub(3)+".2")
		r.wantMember(bob, carol, invite, r.sub(3)+".3")
		r.member(carol, "ban")
		r.wantMember(bob, carol, invite, r.sub(3)+".3")
	})
}

func TestThirdPartyInvite(t *testing.T) {
	pub, key, _ := ed25519.GenerateKey(nil)
	other, _, _ := ed25519.GenerateKey(nil)
	enc := base64.RawURLEncoding.EncodeToString
	sign := func(mxid, token string) string {
		raw, err := pdu.SignJSON([]byte(fmt.Sprintf(`{"token":%q,"mxid":%q,"sender":"x"}`, token, mxid)), "id.org", "ed25519:0", key)
		if err != nil {
			t.Fatal(err)
		}
		return `{"membership":"invite","third_party_invite":{"display_name":"c","signed":` + string(raw) + `}}`
	}
	every(t, all, func(r *room) {
		n := r.sub(3) + ".1."
		r.member(bob, "join")
		r.set("m.room.third_party_invite", "tok", bob, fmt.Sprintf(`{"public_key":%q,"public_keys":[{"public_key":%q}]}`, enc(other), enc(pub)))
		r.set("m.room.third_party_invite", "bad", bob, fmt.Sprintf(`{"public_key":%q}`, enc(other)))
		r.wantMember(bob, carol, sign(carol, "tok"), "")
		if got := auth.Needed(r.v, r.event("m.room.member", carol, bob, sign(carol, "tok"))); !slices.Contains(got, auth.Key{Type: "m.room.third_party_invite", StateKey: "tok"}) {
			t.Errorf("needed: %v", got)
		}
		r.wantMember(bob, carol, `{"membership":"invite","third_party_invite":{}}`, n+"2")
		r.wantMember(bob, carol, `{"membership":"invite","third_party_invite":{"signed":{"mxid":"x"}}}`, n+"3")
		r.wantMember(bob, dave, sign(carol, "tok"), n+"4")
		r.wantMember(bob, carol, sign(carol, "none"), n+"5")
		r.wantMember(alice, carol, sign(carol, "tok"), n+"6")
		r.wantMember(bob, carol, sign(carol, "bad"), n+"8")
		r.member(carol, "ban")
		r.wantMember(bob, carol, sign(carol, "tok"), n+"1")
	})
}

// The signatures and the keys are both chosen by others, so the pairs that are
// tried are bounded. Nobody but an attacker comes near the bound.
func TestThirdPartyInviteTriesABoundedNumberOfKeys(t *testing.T) {
	pub, key, _ := ed25519.GenerateKey(nil)
	other, _, _ := ed25519.GenerateKey(nil)
	raw, err := pdu.SignJSON([]byte(`{"mxid":"@carol:c.org","token":"tok"}`), "id.org", "ed25519:0", key)
	if err != nil {
		t.Fatal(err)
	}
	every(t, all, func(r *room) {
		r.member(bob, "join")
		for tries, rule := range map[int]string{64: "", 65: r.sub(3) + ".1.8"} {
			keys := strings.Repeat(fmt.Sprintf(`{"public_key":%q},`, base64.RawStdEncoding.EncodeToString(other)), tries-1)
			keys += fmt.Sprintf(`{"public_key":%q}`, base64.RawStdEncoding.EncodeToString(pub))
			r.set("m.room.third_party_invite", "tok", bob, `{"public_keys":[`+keys+`]}`)
			r.wantMember(bob, carol, `{"membership":"invite","third_party_invite":{"signed":`+string(raw)+`}}`, rule)
		}
	})
}

func TestLeaveAndKick(t *testing.T) {
	every(t, all, func(r *room) {
		r.levels(`{"users":{"@bob:b.org":50,"@dave:a.org":50},"ban":60}`).member(bob, "join").member(carol, "join").member(dave, "join")
		n := r.sub(4)
		r.wantMember(carol, carol, leave, "")
		r.wantMember(bob, carol, leave, "")
		r.wantMember(carol, bob, leave, n+".5")
		r.wantMember(bob, dave, leave, n+".5") // equal power
		r.wantMember("@x:y", carol, leave, n+".2")
		r.wantMember("@x:y", "@x:y", leave, n+".1")
		r.member(carol, "invite")
		r.wantMember(carol, carol, leave, "")
		r.member(carol, "knock")
		if r.v.Knock {
			r.wantMember(carol, carol, leave, "")
		} else {
			r.wantMember(carol, carol, leave, n+".1")
		}
		r.member(carol, "ban")
		r.wantMember(carol, carol, leave, n+".1")
		r.wantMember(bob, carol, leave, n+".3") // needs the ban level too
	})
}

func TestBan(t *testing.T) {
	every(t, all, func(r *room) {
		r.levels(moderate).member(bob, "join").member(carol, "join").member(dave, "join")
		n := r.sub(5)
		r.wantMember(bob, carol, ban, "")
		r.wantMember(bob, "@new:x", ban, "")
		r.wantMember(carol, "@new:x", ban, n+".3")
		r.wantMember(bob, dave, ban, n+".3")
		r.wantMember("@x:y", carol, ban, n+".1")
	})
}

func TestKnock(t *testing.T) {
	every(t, "1 2 3 4 5 6", func(r *room) {
		r.joinRule("knock")
		r.wantMember(bob, bob, knock, r.sub(6))
	})
	every(t, "7 8 9 10 11 12", func(r *room) {
		n := r.sub(6)
		r.wantMember(bob, bob, knock, n+".1")
		r.joinRule("knock")
		r.wantMember(bob, bob, knock, "")
		r.wantMember(alice, bob, knock, n+".2")
		for _, membership := range []string{"ban", "invite", "join"} {
			r.member(bob, membership)
			r.wantMember(bob, bob, knock, n+".4")
		}
		r.member(bob, "leave").joinRule("knock_restricted")
		if r.v.KnockRestricted {
			r.wantMember(bob, bob, knock, "")
		} else {
			r.wantMember(bob, bob, knock, n+".1")
		}
	})
}
