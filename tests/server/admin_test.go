package server_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/virga-im/virga/tests/server"
)

// The first administrator of a local server, as its operator makes one.
func TestTheFirstAdministrator(t *testing.T) {
	s := server.Start(t, "-registration", "token")
	admin := func(in string, args ...string) (string, error) {
		cmd := server.Command(t, append([]string{"admin", "-data", s.Dir, "-password-cost", "min"}, args...)...)
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if out, err := admin("x\n", "create-user", "alice"); err == nil || !strings.Contains(out, "stop the server first") {
		t.Errorf("while the server runs: %s, %v", out, err)
	}
	s.Stop()
	if out, err := admin("correct horse\n", "create-user", "-admin", "alice"); err != nil || !strings.Contains(out, "@alice:localhost is an administrator") {
		t.Fatalf("%s, %v", out, err)
	}
	token, err := admin("", "registration-token")
	if err != nil {
		t.Fatalf("%s, %v", token, err)
	}
	if out, err := admin("", "-server-name", "example.org", "promote", "alice"); err == nil || !strings.Contains(out, "is that of the server name localhost") {
		t.Errorf("under another name: %s, %v", out, err)
	}
	s.Restart()
	post := func(path, body string) map[string]any {
		t.Helper()
		status, text := s.Post("/_matrix/client/v3"+path, body)
		var o map[string]any
		if err := json.Unmarshal([]byte(text), &o); status != 200 || err != nil {
			t.Fatalf("%s: %d %s", path, status, text)
		}
		return o
	}
	session := post("/login", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"correct horse"}`)
	if status, text := s.Get("/_synapse/admin/v1/reports?access_token=" + session["access_token"].(string)); status != 200 {
		t.Errorf("an administrator is answered %d %s", status, text)
	}
	post("/register", `{"username":"bob","password":"of bob","auth":{"type":"m.login.registration_token","token":"`+token+`"}}`)
}
