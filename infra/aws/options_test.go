package main

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/route"
)

func TestOptionsAreCheckedBeforeAnythingIsMade(t *testing.T) {
	const certificate = "arn:aws:acm:us-east-1:123456789012:certificate/0a1b"
	domain := map[string]any{"domain": "m.example.org", "certificateArn": certificate}
	for _, tt := range []struct {
		context map[string]any
		wrong   string // part of the error; empty if there is none
	}{
		{map[string]any{}, ""},
		{map[string]any{"stage": "prod", "layout": "group", "arch": "host"}, ""},
		{domain, ""},
		{with(domain, "hostedZoneId", "Z0123456789ABC"), ""},
		{map[string]any{"registration": "open", "rateLimits": false}, ""},
		{map[string]any{"stack": "pr-123"}, ""},
		{map[string]any{"logRetention": 90.0}, ""},
		{map[string]any{"secretGeneration": 2.0}, ""},
		{map[string]any{"budget": "10", "alarmEmail": "admin@example.org"}, ""},
		{map[string]any{"budget": 0.5, "alarms": true, "alarmEmail": "admin@example.org"}, ""},
		{map[string]any{"aws:cdk:enable-path-metadata": true, "@aws-cdk/core:checkSecretUsage": true, "availability-zones:account=1:region=x": []any{}, "cli-telemetry": false}, ""},

		{map[string]any{"serverName": nil}, "-c serverName=example.org"},
		{map[string]any{"serverName": "https://example.org"}, "without https://"},
		{map[string]any{"stage": "production"}, "one of dev, prod"},
		{map[string]any{"stage": ""}, "-c stage=: give it a value"},
		{map[string]any{"registation": "open"}, "-c registation: there is no such word; there are serverName, stage"},
		{map[string]any{"servername": "example.org"}, "-c servername"},
		{map[string]any{"registration": "everybody"}, "-c registration=everybody: \"everybody\" is none of closed, token, open"},
		{map[string]any{"domain": "m.example.org"}, "certificateArn"},
		{with(domain, "domain", "https://m.example.org"), "without https://"},
		{with(domain, "domain", "m.example.org/"), "slash"},
		{with(domain, "domain", "m.example.org:443"), "port"},
		{map[string]any{"certificateArn": certificate}, "domain"},
		{with(domain, "certificateArn", strings.Replace(certificate, "us-east-1", "eu-west-1", 1)), "us-east-1"},
		{map[string]any{"hostedZoneId": "Z0123456789ABC"}, "needs -c domain"},
		{with(domain, "hostedZoneId", "example.org"), "the id of a hosted zone"},
		{map[string]any{"stack": "a_b"}, "hyphens"},
		{map[string]any{"stack": strings.Repeat("a", 24)}, "at most 23"},
		{map[string]any{"secretGeneration": "0"}, "one more than at the deploy before"},
		{map[string]any{"logRetention": "8"}, "one of 1 3 5 7 14 30"},
		{map[string]any{"logRetention": "for ever"}, "one of 1 3 5 7 14 30"},
		{map[string]any{"budget": "$10", "alarmEmail": "admin@example.org"}, "such as 10"},
		{map[string]any{"budget": "0", "alarmEmail": "admin@example.org"}, "such as 10"},
		{map[string]any{"budget": "10"}, "needs -c alarmEmail"},
		{map[string]any{"alarms": "on"}, "needs -c alarmEmail"},
		{map[string]any{"alarms": "yes", "alarmEmail": "admin@example.org"}, "one of off, on"},
		{map[string]any{"alarmEmail": "admin@example.org"}, "needs -c alarms=on or -c budget"},
		{map[string]any{"budget": "10", "alarmEmail": "Admin <admin@example.org>"}, "an e-mail address alone"},
	} {
		if _, ok := tt.context["serverName"]; !ok {
			tt.context = with(tt.context, "serverName", "example.org")
		}
		o, err := readOptions(tt.context)
		if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
			t.Errorf("%v: %v, want %q", tt.context, err, tt.wrong)
		}
		if tt.wrong == "" && (o.stack == "" || o.logDays == 0 || o.settings["VIRGA_SERVER_NAME"] != "example.org" || o.settings["VIRGA_PRESENCE"] != "off") {
			t.Errorf("%v: %+v", tt.context, o)
		}
	}
}

func with(context map[string]any, word string, value any) map[string]any {
	more := maps.Clone(context)
	more[word] = value
	return more
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	_, err := readOptions(map[string]any{"stag": "prod", "registration": "x", "presence": "x", "domain": "m.example.org", "budget": "much"})
	var wrong mistakes
	if !errors.As(err, &wrong) || len(wrong) != 7 {
		t.Fatalf("got %v", err)
	}
	for _, word := range []string{"stag:", "registration", "presence", "domain", "budget=much: it", "budget=much needs", "serverName"} {
		if strings.Count(err.Error(), "\n- ") != 7 || !strings.Contains(err.Error(), word) {
			t.Errorf("%s is not told on a line of its own: %v", word, err)
		}
	}
}

func TestTheReadmeExplainsEveryWord(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range allWords() {
		if !strings.Contains(string(text), "`"+word+"`") {
			t.Errorf("README.md does not say what %s is", word)
		}
	}
}

// The program itself refuses what it does not know, on its command line and in
// what the CDK hands over.
func TestTyposStopTheProgram(t *testing.T) {
	needNode(t)
	if testing.Short() {
		t.Skip("builds the program")
	}
	exe := filepath.Join(t.TempDir(), "aws")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(exe, "-c", "serverName=example.org")
	cmd.Env = append(os.Environ(), `CDK_CONTEXT_JSON={"stagee":"prod","aws:cdk:version-reporting":true}`, "CDK_OUTDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "-c stagee: there is no such word") || strings.Contains(string(out), "aws:cdk") || strings.Contains(string(out), "which server") {
		t.Errorf("%v\n%s", err, out)
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
		if !stackNames.MatchString(name) {
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
