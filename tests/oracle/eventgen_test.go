package oracle

import (
	"strings"

	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/tests/oracle/room"
)

// protected are the keys of content that some room version protects from
// redaction, and some that none does.
var protected = map[string][]string{
	"m.room.member":             {"membership", "join_authorised_via_users_server", "third_party_invite", "displayname"},
	"m.room.create":             {"creator", "room_version", "m.federate", "additional_creators"},
	"m.room.join_rules":         {"join_rule", "allow"},
	"m.room.power_levels":       {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default", "invite", "notifications"},
	"m.room.aliases":            {"aliases"},
	"m.room.history_visibility": {"history_visibility"},
	"m.room.redaction":          {"redacts", "reason"},
	"m.room.message":            {"body", "msgtype"},
	"m.room.topic":              {"topic"},
}

var types = []string{"m.room.member", "m.room.create", "m.room.join_rules", "m.room.power_levels", "m.room.aliases",
	"m.room.history_visibility", "m.room.redaction", "m.room.message", "m.room.topic"}

// letter is an event as bytes, with everything that redaction has an opinion on.
func letter(d dice, v *roomversion.Version) []byte {
	s := scribe{d, true}
	r := room.New(v)
	r.ID = "!room:x"
	if v.HashRoomIDs {
		r.ID = "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"
	}
	typ := pick(d, types...)
	var fields []string
	for _, key := range protected[typ] {
		if d.chance(4) {
			continue
		}
		value := s.value(1)
		if key == "third_party_invite" {
			value = pick(d, `{"display_name":"c","signed":{"mxid":"@c:y","token":"t"}}`, `{"display_name":"c"}`, `{}`, `{"signed":null}`, `"x"`, "null")
		}
		fields = append(fields, `"`+key+`":`+value)
	}
	draft := room.Draft{
		Type: typ, Sender: pick(d, people...), Content: s.object(2, fields), TS: int64(d.IntN(1 << 30)), Depth: int64(d.IntN(100)),
		Auth: []string{"$31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"}, Prev: []string{"$p-3hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"}, EventID: "$given:x",
	}
	if d.chance(2) {
		draft.StateKey = room.StateKey(pick(d, "", "@alice:x", "x"))
	}
	if typ == "m.room.redaction" && d.chance(2) {
		draft.Redacts = "$redacted:y"
	}
	raw := string(r.JSON(draft))
	for _, field := range []string{`"origin":"x"`, `"prev_state":[]`, `"membership":"join"`, `"redacts":null`, `"org.example.extra":{"b":1,"a":2}`, `"unsigned":{"age":5}`,
		`"age_ts":5`, `"outlier":true`, `"destinations":[]`, `"msc4354_sticky":{"duration_ms":5}`} {
		key, _, _ := strings.Cut(field, ":")
		if d.chance(8) && !strings.Contains(raw, key+":") {
			raw = raw[:len(raw)-1] + "," + field + "}"
		}
	}
	return []byte(raw)
}

// signedLetter is a letter with content hash and signature.
func signedLetter(d dice, v *roomversion.Version) []byte {
	raw, err := pdu.HashAndSign(v, letter(d, v), "x", room.KeyID, room.Key)
	if err != nil {
		panic(err)
	}
	return raw
}
