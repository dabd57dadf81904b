package config

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestFlagsWinOverEnvironmentOverFileOverDefault(t *testing.T) {
	in := Input{
		Args: []string{"-config", "virga.yaml", "-server-name", "flag.example.org"},
		Env: lookup(map[string]string{
			"VIRGA_SERVER_NAME": "env.example.org", "VIRGA_REGISTRATION": "token", "VIRGA_RATE_LIMITS": "off",
		}),
		ReadFile: file(map[string]any{"server_name": "file.example.org", "registration": "open", "turn_shared_secret": "s"}),
	}
	c := load(t, in)
	want := Default()
	want.ServerName, want.Registration, want.RateLimits, want.TURNSharedSecret = "flag.example.org", RegistrationToken, false, "s"
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("loaded %+v\nnot %+v", *c, want)
	}
}

func TestFileIsNamedByTheEnvironment(t *testing.T) {
	c := load(t, Input{
		Env:      lookup(map[string]string{"VIRGA_CONFIG": "a.yaml"}),
		ReadFile: file(map[string]any{"server_name": "example.org"}),
	})
	if c.ServerName != "example.org" {
		t.Errorf("the server name is %q", c.ServerName)
	}
}

func TestFileSpeaksSynapse(t *testing.T) {
	c := load(t, Input{Args: []string{"-config", "homeserver.yaml"}, ReadFile: file(map[string]any{
		"server_name":                 "example.org",
		"public_baseurl":              "https://matrix.example.org/",
		"enable_registration":         true,
		"registration_requires_token": true,
		"registration_shared_secret":  "s3cret",
		"max_upload_size":             "10M",
		"url_preview_enabled":         true,
		"turn_uris":                   []any{"turn:a.example.org?transport=udp", "turns:a.example.org"},
		"turn_shared_secret":          "t",
		"turn_user_lifetime":          86400000,
		"presence":                    map[string]any{"enabled": false},
		"trusted_key_servers":         []any{map[string]any{"server_name": "matrix.org"}},
		"trusted_proxies":             []any{"127.0.0.1", "10.1.2.3/8", "::1"},
	})})
	want := Default()
	want.ServerName, want.PublicBaseURL = "example.org", "https://matrix.example.org"
	want.Registration, want.RegistrationSharedSecret = RegistrationToken, "s3cret"
	want.MaxUploadSize, want.URLPreviews, want.Presence = 10<<20, true, false
	want.TURNURIs, want.TURNSharedSecret = []string{"turn:a.example.org?transport=udp", "turns:a.example.org"}, "t"
	want.TURNUserLifetime = 24 * time.Hour
	want.TrustedKeyServers = []string{"matrix.org"}
	want.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	want.pending = c.pending
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("loaded %+v\nnot %+v", *c, want)
	}
}

// The flags of the run contract, as other programs pass them.
func TestAcceptsWhatConformanceHarnessesPass(t *testing.T) {
	c := load(t, Input{Args: []string{
		"-server-name", "localhost:28800", "-data", "/tmp/x", "-client-listen", "127.0.0.1:0",
		"-federation-listen", ":8448", "-tls-cert", "c.pem", "-tls-key", "k.pem", "-federation-ca", "ca.pem",
		"-registration", "open", "-registration-shared-secret", "complement", "-appservice-dir", "as",
		"-rate-limits", "off", "-allow-private-addresses", "-notary", "", "-public-baseurl", "http://127.0.0.1:1",
		"-smtp", "smtp://localhost", "-turn-uris", "", "-turn-shared-secret", "", "-password-cost", "min", "-presence", "on",
		"--log-level=debug",
	}})
	if !c.AllowPrivateAddresses || c.RateLimits || c.LogLevel != slog.LevelDebug || c.PasswordCost != PasswordCostMin {
		t.Errorf("loaded %+v", c)
	}
	if !strings.Contains(strings.Join(c.Pending(), " "), "-smtp") {
		t.Errorf("the flags without effect are said to be %v", c.Pending())
	}
}

func TestServerNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"localhost": true, "hs1": true, "example.org": true, "example.org:8448": true, "localhost:28800": true,
		"192.0.2.1": true, "192.0.2.1:80": true, "[2001:db8::1]": true, "[::1]:8448": true,
		"": false, "https://example.org": false, "@a:example.org": false, "::1": false, "example.org:": false,
		"example.org:http": false, "exa_mple.org": false, "example.org/": false, "[::1": false,
	} {
		_, err := Load(Input{Args: []string{"-server-name", name}})
		if (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestMistakesAreExplained(t *testing.T) {
	for _, c := range []struct {
		args string
		file map[string]any
		want string
	}{
		{args: "-server-name https://example.org", want: `-server-name: "https://example.org" is not a server name: write the name alone, without https://`},
		{args: "-server-name ::1", want: "write an IPv6 address in brackets"},
		{args: "-registration maybe", want: `-registration: "maybe" is none of closed, token, open`},
		{args: "-client-listen 8008", want: "is not an address to listen on"},
		{args: "-client-listen localhost:99999", want: "is not an address to listen on"},
		{args: "-rate-limits maybe", want: "neither on nor off"},
		{args: "-tls-cert a.pem", want: "belong together"},
		{args: "-tls-cert a.pem -tls-key a.key", want: "-tls-cert needs -federation-listen"},
		{args: "-turn-uris turn:a", want: "-turn-uris needs -turn-shared-secret"},
		{args: "-turn-uris http://a -turn-shared-secret s", want: "not a TURN URI"},
		{args: "-public-baseurl example.org", want: "is not a URL"},
		{args: "-max-upload-size big", want: "is not a size"},
		{args: "-turn-user-lifetime soon", want: "is not a duration"},
		{args: "-log-level loud", want: "none of debug"},
		{args: "-registration-token abc", want: "needs -registration token"},
		{args: "-data", want: "-help lists the flags"},
		{args: "-no-such-flag", want: "-help lists the flags"},
		{args: "serve", want: `"serve" is not a flag`},
		{args: "-trusted-proxies example.org", want: `"example.org" is not an address or network such as 127.0.0.1 or 10.0.0.0/8`},
		{args: "-trusted-proxies 10.0.0.0/33", want: "is not an address or network"},
		{args: "-config f", file: map[string]any{"sever_nam": "a", "database": "b"}, want: "f: this version does not know database, sever_nam (server_name?)"},
		{args: "-config f", file: map[string]any{"listeners": []any{}}, want: "listeners (write client_listen, federation_listen and trusted_proxies)"},
		{args: "-config f", file: map[string]any{"x_forwarded": true}, want: "x_forwarded (write trusted_proxies"},
		{args: "-config f", file: map[string]any{"server_name": map[string]any{}}, want: "server_name: a text"},
		{args: "-config f", file: map[string]any{"server_name": "a b"}, want: "server_name in f:"},
		{args: "-config f", file: map[string]any{"registration": "open", "enable_registration": true}, want: "say the same"},
	} {
		_, err := Load(Input{Args: strings.Fields(c.args), ReadFile: file(c.file)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %v, not %s", c.args, c.file, err, c.want)
		}
	}
	if _, err := Load(Input{Args: []string{"-config", "f"}}); err == nil {
		t.Error("a file was read where there is none")
	}
	if _, err := Load(Input{Args: []string{"-config", "f"}, ReadFile: func(string) (map[string]any, error) { return nil, io.ErrUnexpectedEOF }}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	var b bytes.Buffer
	if _, err := Load(Input{Args: []string{"-help"}, Usage: &b}); err != flag.ErrHelp {
		t.Fatal(err)
	}
	for _, s := range settings {
		if !strings.Contains(b.String(), "-"+s.flag) {
			t.Errorf("-help does not list %s", s.flag)
		}
	}
}

func load(t *testing.T, in Input) *Config {
	t.Helper()
	c, err := Load(in)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func lookup(m map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

func file(m map[string]any) func(string) (map[string]any, error) {
	return func(string) (map[string]any, error) { return m, nil }
}

// Rates are written as one word, or as Synapse writes them.
func TestRatesAreReadInBothForms(t *testing.T) {
	file := map[string]any{
		"rc_message": map[string]any{"per_second": 5, "burst_count": 25},
		"rc_login":   map[string]any{"address": map[string]any{"per_second": 0.25, "burst_count": 3}},
		"rc_joins":   "2/40",
	}
	c, err := Load(Input{
		Args:     []string{"-config", "x.yaml", "-rc-registration", "0.1/2"},
		ReadFile: func(string) (map[string]any, error) { return file, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Default().Rates
	want.Message, want.Login, want.Join, want.Registration = Rate{5, 25}, Rate{0.25, 3}, Rate{2, 40}, Rate{0.1, 2}
	if c.Rates != want {
		t.Errorf("%+v, want %+v", c.Rates, want)
	}
	for _, bad := range []string{"5", "5/0", "0/5", "-1/5", "NaN/5", "a/b", "1/1e99"} {
		if _, err := Load(Input{Args: []string{"-rc-message", bad}}); err == nil {
			t.Errorf("%q is a rate", bad)
		}
	}
}
