package oracle

import "strings"

// mutations are all that a server may find wrong with an event, and what looks
// wrong and is not.
var mutations = func() []mutation {
	long := func(before string, n int, unit string) string {
		return `"` + before + strings.Repeat(unit, (n-len(before))/len(unit)) + `"`
	}
	all := []mutation{
		{"good", "org.example.nothing", "1"},
		{"content of 70,000 bytes", "content", `{"a":"` + strings.Repeat("x", 70000) + `"}`},
		{"type of 256 bytes", "type", long("", 256, "t")},
		{"type of 256 bytes in 128 characters", "type", long("", 256, "é")},
		{"type of 255 bytes", "type", long("", 255, "t")},
		{"state_key of 256 bytes", "state_key", long("", 256, "s")},
		{"state_key of 256 bytes in 128 characters", "state_key", long("", 256, "é")},
		{"sender of 257 bytes", "sender", `"@` + strings.Repeat("s", 254) + `:x"`},
		{"sender of 257 bytes in 130 characters", "sender", `"@` + strings.Repeat("é", 127) + `:x"`},
		{"sender with an empty localpart", "sender", `"@:x.org"`},
		{"sender with capitals and spaces", "sender", `"@A b:x.org"`},
		{"sender without a sigil", "sender", `"alice:x"`},
		{"sender without a server", "sender", `"@alice"`},
		{"sender with an empty server", "sender", `"@alice:"`},
		{"sender whose server has a space", "sender", `"@alice:x y"`},
		{"empty sender", "sender", `""`},
		{"room_id without a sigil", "room_id", `"room:x"`},
		{"room_id of one character", "room_id", `"!"`},
		{"empty room_id", "room_id", `""`},
		{"room_id of the other kind", "room_id", `"!room"`},
		{"negative depth", "depth", "-1"},
		{"depth of 2^53-1", "depth", "9007199254740991"},
		{"depth of 2^53", "depth", "9007199254740992"},
		{"depth of 2^64", "depth", "18446744073709551616"},
		{"fractional depth", "depth", "1.5"},
		{"negative origin_server_ts", "origin_server_ts", "-1"},
		{"auth_events with null", "auth_events", "[null]"},
		{"auth_events with an object", "auth_events", "[{}]"},
		{"auth_events that are no event ids", "auth_events", `["x"]`},
		{"11 auth_events", "auth_events", "[" + strings.Repeat(`"$31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM",`, 10) + `"$31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"]`},
		{"21 prev_events", "prev_events", "[" + strings.Repeat(`"$31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM",`, 20) + `"$31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"]`},
		{"a reference in three parts", "prev_events", `[["$a:x",{},5]]`},
		{"a top-level key that begins with _", "_meta", "1"},
		{"event_id of a number", "event_id", "5"},
		{"redacts of a number", "redacts", "5"},
		{"origin of a number", "origin", "5"},
		{"Type with a capital", "Type", `"m.room.message"`},
		{"unsigned of an array", "unsigned", "[]"},
		{"signatures of servers that are no objects", "signatures", `{"x":5}`},
		{"a float in the content", "content", `{"a":1.5}`},
		{"a key twice in the content", "content", `{"a":1,"a":2}`},
	}
	for _, key := range []string{"auth_events", "content", "depth", "hashes", "origin_server_ts", "prev_events", "sender", "signatures", "type", "room_id"} {
		all = append(all, mutation{"no " + key, key, ""}, mutation{key + " null", key, "null"}, mutation{key + " a boolean", key, "true"}, mutation{key + " a string", key, `"x"`})
	}
	return append(all, mutation{"state_key null", "state_key", "null"}, mutation{"state_key a number", "state_key", "5"})
}()
