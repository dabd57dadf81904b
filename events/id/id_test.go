package id_test

import (
	"strings"
	"testing"

	"github.com/virga-im/virga/events/id"
)

func TestServerNames(t *testing.T) {
	for s, want := range map[string]bool{
		"matrix.org": true, "matrix.org:8888": true, "1.2.3.4": true, "1.2.3.4:1234": true, "localhost": true,
		"[1234:5678::abcd]": true, "[1234:5678::abcd]:5678": true, "[::ffff:1.2.3.4]": true, "MATRIX.org": true,
		"": false, ":1": false, "a:": false, "a:123456": false, "a:1x": false, "a_b": false, "a b": false, "é.org": false,
		"[1234": false, "[1.2.3.4]": false, "[::1]x": false, "[::1%eth0]": false, "[]": false, "a:1:2": false, "::1": false,
		strings.Repeat("a", 255): true, strings.Repeat("a", 256): false,
	} {
		if got := id.ValidServer(s); got != want {
			t.Errorf("ValidServer(%.50q) = %v", s, got)
		}
	}
}

func TestUserIDs(t *testing.T) {
	for _, test := range []struct {
		s                   string
		valid, fresh, plain bool
	}{
		{"@alice:example.org", true, true, true},
		{"@a.l_i=c-e/+1:example.org:8448", true, true, true},
		{"@Alice:example.org", true, false, true},
		{"@:example.org", true, false, false},
		{"@älice:example.org", true, false, false},
		{"@a b\n:example.org", true, false, false},
		{"@a\x00b:example.org", false, false, false},
		{"@a\xff:example.org", false, false, false},
		{"@alice", false, false, false},
		{"@alice:", false, false, false},
		{"@alice:exa mple", false, false, false},
		{"alice:example.org", false, false, false},
		{"", false, false, false},
		{"@" + strings.Repeat("a", 242) + ":example.org", true, true, true},
		{"@" + strings.Repeat("a", 243) + ":example.org", false, false, false},
	} {
		if id.ValidUser(test.s) != test.valid || id.ValidNewUser(test.s) != test.fresh || id.Compliant(test.s) != test.plain {
			t.Errorf("%.40q: valid %v, new %v, compliant %v", test.s, id.ValidUser(test.s), id.ValidNewUser(test.s), id.Compliant(test.s))
		}
		if _, _, err := id.ParseUser(test.s); (err == nil) != test.valid {
			t.Errorf("ParseUser(%.40q): %v", test.s, err)
		}
	}
	local, server, err := id.ParseUser("@bob:[::1]:8448")
	if local != "bob" || server != "[::1]:8448" || err != nil {
		t.Error(local, server, err)
	}
}

func TestRoomAndEventIDs(t *testing.T) {
	hash := strings.Repeat("a", 43)
	for s, want := range map[string]bool{
		"!x:example.org": true, "!" + hash: true, "!x": false, "!" + hash + "a": false, "!a/" + hash[2:]: false, "#x:y": false, "!:y": true,
	} {
		if got := id.ValidRoom(s); got != want {
			t.Errorf("ValidRoom(%q) = %v", s, got)
		}
	}
	for s, want := range map[string]bool{
		"$x:example.org": true, "$" + hash: true, "$a+/": true, "$": false, "x": false, "$" + strings.Repeat("a", 255): false,
	} {
		if got := id.ValidEvent(s); got != want {
			t.Errorf("ValidEvent(%q) = %v", s, got)
		}
	}
	if id.Server("$"+hash) != "" || id.Server("!x:a:1") != "a:1" || id.RoomOfCreate("$abc") != "!abc" {
		t.Error("Server or RoomOfCreate is wrong")
	}
}
