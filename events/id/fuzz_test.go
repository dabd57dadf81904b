package id_test

import (
	"testing"
	"unicode/utf8"

	"github.com/virga-im/virga/events/id"
)

func FuzzIdentifiers(f *testing.F) {
	for _, s := range []string{"", "@alice:a.org", "@:a.org:8448", "@ü\n:[::1]:1", "!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ", "$a/+", "#x:y", "ed25519:a_1", "m.room.x", "[1::2", "a:99999", "1.2.3.4:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		local, server, err := id.ParseUser(s)
		if valid := id.ValidUser(s); valid != (err == nil) {
			t.Fatalf("ValidUser(%q) is %v, ParseUser says %v", s, valid, err)
		} else if valid && (id.User(local, server) != s || id.Server(s) != server || id.Localpart(s) != local || !id.ValidServer(server) || len(s) > id.MaxLength || !utf8.ValidString(s)) {
			t.Fatalf("%q is %q on %q", s, local, server)
		}
		if id.ValidNewUser(s) && !id.Compliant(s) || id.Compliant(s) && !id.ValidUser(s) {
			t.Fatalf("%q is new and not compliant, or compliant and not valid", s)
		}
		if _, _, err := id.ParseAlias(s); (err == nil) != id.ValidAlias(s) {
			t.Fatalf("ParseAlias(%q): %v", s, err)
		}
		if id.ValidRoom(s) != (id.ValidRoomWithServer(s) || id.ValidRoomHash(s)) || id.ValidRoomWithServer(s) && id.ValidRoomHash(s) {
			t.Fatalf("%q is a room id of both kinds", s)
		}
		if id.ValidRoomHash(s) && (id.RoomOfCreate(id.CreateOfRoom(s)) != s || !id.ValidEvent(id.CreateOfRoom(s))) {
			t.Fatalf("%q has the create event %q", s, id.CreateOfRoom(s))
		}
		if host, port, ok := id.SplitServer(s); ok && host+port != s && host+":"+port != s {
			t.Fatalf("%q is %q and %q", s, host, port)
		}
		if id.ValidServer(s) && (s == "" || !id.ValidUser("@x:"+s) && len(s) <= id.MaxLength-3) {
			t.Fatalf("%q is a server without users", s)
		}
		id.IsIP(s)
		for _, valid := range []func(string) bool{id.ValidEvent, id.ValidOpaque, id.ValidNamespaced, id.ValidDevice, id.ValidKey} {
			if valid(s) && (s == "" || len(s) > id.MaxLength) {
				t.Fatalf("%q is too long or empty, and valid", s)
			}
		}
	})
}
