package main

import (
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/route"
)

func TestOptionsAreCheckedBeforeAnythingIsMade(t *testing.T) {
	const certificate = "arn:aws:acm:us-east-1:123456789012:certificate/0a1b"
	for _, tt := range []struct {
		context map[string]any
		wrong   string // part of the error; empty if there is none
	}{
		{map[string]any{"serverName": "example.org"}, ""},
		{map[string]any{"serverName": "example.org", "stage": "prod", "layout": "group", "arch": "host"}, ""},
		{map[string]any{"serverName": "example.org", "domain": "m.example.org", "certificateArn": certificate}, ""},
		{map[string]any{"serverName": "example.org", "registration": "open", "rateLimits": false}, ""},
		{map[string]any{}, "-c serverName=example.org"},
		{map[string]any{"serverName": "https://example.org"}, "without https://"},
		{map[string]any{"serverName": "example.org", "stage": "production"}, "one of dev, prod"},
		{map[string]any{"serverName": "example.org", "registration": "everybody"}, "closed"},
		{map[string]any{"serverName": "example.org", "domain": "m.example.org"}, "certificateArn"},
		{map[string]any{"serverName": "example.org", "certificateArn": certificate}, "domain"},
		{map[string]any{"serverName": "example.org", "domain": "m.example.org", "certificateArn": strings.Replace(certificate, "us-east-1", "eu-west-1", 1)}, "us-east-1"},
		{map[string]any{"serverName": "example.org", "stack": "a_b"}, "hyphens"},
		{map[string]any{"serverName": "example.org", "stack": "pr-123"}, ""},
	} {
		o, err := readOptions(func(name string) any { return tt.context[name] })
		if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
			t.Errorf("%v: %v, want %q", tt.context, err, tt.wrong)
		}
		if tt.wrong == "" && (o.stack == "" || o.settings["VIRGA_SERVER_NAME"] != "example.org" || o.settings["VIRGA_PRESENCE"] != "off") {
			t.Errorf("%v: %+v", tt.context, o)
		}
	}
}

func TestServersNeverShareAStackName(t *testing.T) {
	seen := map[string]string{}
	for _, server := range []string{
		"example.org", "example-org", "a.b.org", "a-b.org", "a.b-org", "a-b-org", "localhost:8448", "localhost.8448", "localhost",
		"[2001:db8::1]", "[2001:db8::1]:8448", "1.2.3.4", "1.2.3.4:1", "matrix.a-very-long-name.example.org", "matrix.a-very-long-name.example.com",
	} {
		name := stackName(server)
		if other, ok := seen[name]; ok {
			t.Errorf("%s and %s both get the stack %s", server, other, name)
		}
		seen[name] = server
		if !stackNames.MatchString(name) || len(name) > maxStackName {
			t.Errorf("%s gets the stack %q", server, name)
		}
	}
	if got := stackName("example.org"); got != "virga-example-org" {
		t.Errorf("example.org gets the stack %q", got)
	}
}

func TestNamesOfFunctionsAreUnique(t *testing.T) {
	a := route.Route{Name: "a", Pattern: "GET /a", Handler: standInHandler}
	for name, tab := range map[string]table{
		"two routes":            {routes: []route.Route{a, a}},
		"a route and a worker":  {routes: []route.Route{a}, workers: []route.Worker{{Name: "a", On: route.Every(time.Minute)}}},
		"a route named all":     {routes: []route.Route{{Name: "all", Pattern: "GET /a", Handler: standInHandler}}},
		"a route named unknown": {routes: []route.Route{{Name: "unknown", Pattern: "GET /a", Handler: standInHandler}}},
		"a name with a space":   {routes: []route.Route{{Name: "a b", Pattern: "GET /a", Handler: standInHandler}}},
	} {
		if _, err := plan(tab, "route"); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestIntervalsAreWholeMinutes(t *testing.T) {
	for _, d := range []time.Duration{0, time.Second, 90 * time.Second, -time.Minute} {
		if got, err := rateOf(d); err == nil {
			t.Errorf("%s becomes %s", d, got)
		}
	}
}

func TestSectionsAreFolders(t *testing.T) {
	section := sectionsOf(api.Routes())
	for _, r := range api.Routes() {
		if s := section(r); !strings.Contains(s, "/") {
			t.Errorf("%s is in %s, which is no folder of functions/", r.Name, s)
		}
	}
	for name, want := range map[string]string{"logout": "client/session", "getPushRules": "client/push", "loginFallback": "client/session"} {
		if got := section(route.Route{Name: name}); got != want {
			t.Errorf("%s is in %s, want %s", name, got, want)
		}
	}
}
