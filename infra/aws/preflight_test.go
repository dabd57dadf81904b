package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/aws/account"
)

// answers is an account as a test describes it.
type answers struct {
	region, version, status, zone string
	names                         []string
	concurrency                   int
	noCredentials, noPermission   bool
}

func (a answers) err() error {
	if a.noPermission {
		return errors.New("AccessDeniedException")
	}
	return nil
}

func (a answers) found(v string) (string, error) {
	if v == "" && a.err() == nil {
		return "", account.ErrMissing
	}
	return v, a.err()
}

func (a answers) Region() string { return a.region }
func (a answers) Caller(context.Context) (string, string, error) {
	if a.noCredentials {
		return "", "", errors.New("no EC2 IMDS role found")
	}
	return "123456789012", "arn:aws:iam::123456789012:user/Alice", nil
}
func (a answers) Parameter(context.Context, string) (string, error) { return a.found(a.version) }
func (a answers) Concurrency(context.Context) (int, error)          { return a.concurrency, a.err() }
func (a answers) Certificate(context.Context, string) (string, []string, error) {
	status, err := a.found(a.status)
	return status, a.names, err
}
func (a answers) Zone(context.Context, string) (string, error) { return a.found(a.zone) }

func TestPreflightSaysWhatToDo(t *testing.T) {
	ready := answers{region: "eu-central-1", version: "27", concurrency: 1000, status: "ISSUED", names: []string{"*.example.org"}, zone: "example.org"}
	opts := testOptions("virga-a")
	opts.domain, opts.certificate, opts.zone = "m.example.org", "arn:aws:acm:us-east-1:123456789012:certificate/0a1b", "Z1"
	known := map[string]bool{"example.org": true}
	for name, tt := range map[string]struct {
		change   func(*answers, *options)
		severity severity
		check    string
		found    string
		do       string // part of it
	}{
		"no region":           {func(a *answers, _ *options) { a.region = "" }, obstacle, "region", "no region", "AWS_REGION"},
		"no credentials":      {func(a *answers, _ *options) { a.noCredentials = true }, obstacle, "credentials", "IMDS", "AWS_PROFILE"},
		"no bootstrap":        {func(a *answers, _ *options) { a.version = "" }, obstacle, "bootstrap", "no place", "npx cdk bootstrap aws://123456789012/eu-central-1"},
		"old bootstrap":       {func(a *answers, _ *options) { a.version = "5" }, obstacle, "bootstrap", `"5"`, "npx cdk bootstrap"},
		"new account":         {func(a *answers, _ *options) { a.concurrency = 10 }, caution, "concurrency", "10 functions", "Service Quotas"},
		"no certificate":      {func(a *answers, _ *options) { a.status = "" }, obstacle, "certificate", "no certificate", "request-certificate --region us-east-1"},
		"other certificate":   {func(a *answers, _ *options) { a.names = []string{"example.org", "*.m.example.org"} }, obstacle, "certificate", "not for m.example.org", "--domain-name m.example.org"},
		"unproven":            {func(a *answers, _ *options) { a.status = "PENDING_VALIDATION" }, obstacle, "certificate", "waits", "CNAME"},
		"expired":             {func(a *answers, _ *options) { a.status = "EXPIRED" }, obstacle, "certificate", "EXPIRED", "request-certificate"},
		"no zone":             {func(a *answers, _ *options) { a.zone = "" }, obstacle, "hosted zone", "no hosted zone", "list-hosted-zones"},
		"other zone":          {func(a *answers, _ *options) { a.zone = "ample.org" }, obstacle, "hosted zone", "ample.org", "list-hosted-zones"},
		"domain at its apex":  {func(_ *answers, o *options) { o.domain = "example.org" }, obstacle, "certificate", "not for example.org", "request"},
		"record exists":       {func(a *answers, o *options) { o.domain = "example.org"; a.names = []string{"example.org"} }, caution, "domain", "192.0.2.1 already", "delete it first"},
		"record by hand":      {func(_ *answers, o *options) { o.zone = "" }, caution, "domain", "no address yet", "PointHere"},
		"name without a host": {func(_ *answers, o *options) { o.serverName = "nowhere.example" }, caution, "server name", "nowhere.example has no address", ".well-known"},
		"name with a port":    {func(_ *answers, o *options) { o.serverName = "example.org:8448" }, obstacle, "server name", "8448", "without a port"},
		"name of an address":  {func(_ *answers, o *options) { o.serverName = "[2001:db8::1]" }, obstacle, "server name", "address", "without a port"},
		"another host":        {func(*answers, *options) {}, caution, "server name", "another host", "WellKnown"},
		"may not look":        {func(a *answers, _ *options) { a.noPermission = true }, caution, "bootstrap", "AccessDenied", "permission"},
	} {
		a, o := ready, opts
		tt.change(&a, &o)
		findings := preflight(t.Context(), o, a, func(_ context.Context, host string) ([]string, error) {
			if known[host] {
				return []string{"192.0.2.1"}, nil
			}
			return nil, errors.New("no such host")
		})
		seen := false
		for _, f := range findings {
			if f.severity != fine && (f.found == "" || f.do == "") {
				t.Errorf("%s: %+v does not say what to do", name, f)
			}
			if f.check == tt.check {
				seen = true
				if f.severity != tt.severity || !strings.Contains(f.found, tt.found) || !strings.Contains(f.do, tt.do) {
					t.Errorf("%s: %+v", name, f)
				}
			}
		}
		var text bytes.Buffer
		if err := report(&text, findings); (err != nil) != (tt.severity == obstacle) || !seen {
			t.Errorf("%s: %v\n%s", name, err, &text)
		}
	}
}

func TestPreflightOfWhatIsReadyOnlyNotesWhereTheServerIs(t *testing.T) {
	opts := testOptions("virga-a")
	opts.serverName, opts.domain, opts.certificate = "example.org", "example.org", "arn"
	ready := answers{region: "eu-central-1", version: "27", concurrency: 1000, status: "ISSUED", names: []string{"example.org"}}
	var text bytes.Buffer
	findings := preflight(t.Context(), opts, ready, func(context.Context, string) ([]string, error) { return []string{"192.0.2.1"}, nil })
	if err := report(&text, findings); err != nil || strings.Count(text.String(), "note ") != 1 || !strings.Contains(text.String(), "compare its record") {
		t.Errorf("%v\n%s", err, &text)
	}
}
