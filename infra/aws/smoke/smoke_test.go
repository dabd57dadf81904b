package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/virga-im/virga/tests/server"
)

// smoke runs the command with waits that are shorter than in earnest.
func smoke(t *testing.T, env map[string]string, args ...string) (out string, err error) {
	t.Helper()
	var b bytes.Buffer
	err = run(t.Context(), append([]string{"-idle", "1s", "-wake", "3s"}, args...), func(name string) string { return env[name] }, &b)
	return b.String(), err
}

// A local server passes, in each way of registration.
func TestALocalServerPasses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "accounts")
	for name, tt := range map[string]struct {
		flags, args []string
		env         map[string]string
		how         string
	}{
		"open":   {how: "registration is open"},
		"token":  {flags: []string{"-registration", "token", "-registration-token", "friends"}, env: map[string]string{"VIRGA_REGISTRATION_TOKEN": "friends"}, how: "by a registration token"},
		"secret": {flags: []string{"-registration", "closed", "-registration-shared-secret", "s"}, env: map[string]string{"VIRGA_REGISTRATION_SHARED_SECRET": "s"}, how: "by the shared secret"},
		"limits": {flags: []string{"-rate-limits", "on", "-presence", "on"}, how: "registration is open"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := server.Start(t, tt.flags...)
			out, err := smoke(t, tt.env, append(tt.args, s.URL)...)
			if err != nil || !strings.Contains(out, tt.how) || !strings.Contains(out, " 0 failed") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	t.Run("accounts that there are", func(t *testing.T) {
		s := server.Start(t)
		text := ""
		for _, name := range []string{"alice", "bob"} {
			if code, body := s.Post("/_matrix/client/v3/register", `{"username":"`+name+`","password":"two words","auth":{"type":"m.login.dummy"}}`); code != 200 {
				t.Fatal(body)
			}
			text += name + " two words\n"
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 { // they are not deactivated
			if out, err := smoke(t, nil, "-accounts", file, s.URL); err != nil || !strings.Contains(out, "@alice:localhost and @bob:localhost, logged in") {
				t.Errorf("%v\n%s", err, out)
			}
		}
	})
}

func TestMistakesAreExplained(t *testing.T) {
	s := server.Start(t, "-registration", "closed")
	for want, args := range map[string][]string{
		"say at the end where":   nil,
		"1 checks failed":        {"http://127.0.0.1:1"},
		"no such file":           {"-accounts", "none", s.URL},
		"has 0 accounts":         {"-accounts", os.DevNull, s.URL},
		"-nosuch":                {"-nosuch", s.URL},
		"checks failed: see FAI": {s.URL}, // nobody can register
	} {
		if _, err := smoke(t, nil, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}
