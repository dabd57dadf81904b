package cloudfront

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
)

const config = `{
	"Enabled": true,
	"Origins": [
		{"Id": "Api", "DomainName": "api.aws", "OriginCustomHeaders": [{"HeaderName": "X-Secret", "HeaderValue": "hush"}]},
		{"Id": "Url", "DomainName": "url.aws"}],
	"DefaultCacheBehavior": {"TargetOriginId": "Api", "AllowedMethods": ["GET", "HEAD", "POST"], "CachePolicyId": "none", "OriginRequestPolicyId": "` + allViewerExceptHost + `",
		"FunctionAssociations": [{"EventType": "viewer-request", "FunctionARN": "door"}]},
	"CacheBehaviors": [{"PathPattern": "/a/*/sync", "TargetOriginId": "Url", "AllowedMethods": ["GET"], "CachePolicyId": "none", "OriginRequestPolicyId": "` + allViewerExceptHost + `"}],
	"CustomErrorResponses": [ERRORS]}`

func distribution(t *testing.T, edit func(text string) string) (*Distribution, *http.Request, error) {
	t.Helper()
	var errors []string
	for _, status := range cacheable {
		text, err := json.Marshal(map[string]int{"ErrorCode": status, "ErrorCachingMinTTL": 0})
		if err != nil {
			t.Fatal(err)
		}
		errors = append(errors, string(text))
	}
	var c Config
	if err := json.Unmarshal([]byte(edit(strings.Replace(config, "ERRORS", strings.Join(errors, ","), 1))), &c); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("Node is missing")
	}
	door, err := Start(`function handler(event) {
		var r = event.request;
		if (r.uri === '/own') return { statusCode: 204, statusDescription: 'No Content', headers: { 'x-own': { value: '1' } } };
		if (r.uri === '/throw') throw new Error('no');
		r.headers['x-uri'] = { value: r.uri + '?' + r.rawQueryString() };
		r.headers['x-ip'] = { value: event.viewer.ip };
		r.querystring = {};
		r.uri = '/routed';
		return r;
	}`)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(door.Close)
	seen := new(http.Request)
	origin := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			*seen = *r
			seen.Host = name
			w.Header().Set("Access-Control-Allow-Origin", "*")
			if r.Header.Get("X-Careless") == "" {
				w.Header().Set("Cache-Control", "no-store")
			}
		})
	}
	d, err := New(c, Options{
		Domain: "d.cloudfront.net", Functions: map[string]*Program{"door": door},
		Policies: map[string]CachePolicy{"none": {MaxTTL: 1}, "some": {DefaultTTL: 60, MaxTTL: 60}},
		Origins:  map[string]http.Handler{"api.aws": origin("api"), "url.aws": origin("url")},
		Complain: func(format string, _ ...any) { seen.Pattern = format },
	})
	return d, seen, err
}

func same(text string) string { return text }

func ask(d *Distribution, method, uri, body string, header ...string) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest(method, "/", strings.NewReader(body))
	r.RequestURI, r.RemoteAddr = uri, "203.0.113.7:1234"
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	d.ServeHTTP(w, r)
	return w
}

func TestARequestGoesThroughTheProgramToItsOrigin(t *testing.T) {
	d, seen, err := distribution(t, same)
	if err != nil {
		t.Fatal(err)
	}
	ask(d, "POST", "/a%2Fb//c?q=%20", "body", "Authorization: Bearer x", "X-Secret: forged", "X-Two: 1", "X-Two: 2")
	for name, want := range map[string]string{
		"X-Uri": "/a%2Fb//c?q=%20", "X-Ip": "203.0.113.7", "X-Secret": "hush", "Authorization": "Bearer x", "X-Forwarded-For": "203.0.113.7", "X-Two": "1,2",
	} {
		if got := strings.Join(seen.Header[name], ","); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if seen.Host != "api" || seen.RequestURI != "/routed" || seen.Method != "POST" || seen.ContentLength != 4 {
		t.Errorf("%s %s at %s with %d bytes", seen.Method, seen.RequestURI, seen.Host, seen.ContentLength)
	}
	if w := ask(d, "GET", "/own", ""); w.Code != 204 || w.Header().Get("X-Own") != "1" {
		t.Errorf("an answer of the program: %d %v", w.Code, w.Header())
	}
	if w := ask(d, "GET", "/throw", ""); w.Code != 503 || seen.Pattern == "" {
		t.Errorf("a program that fails: %d", w.Code)
	}
}

func TestBehavioursAreFoundByTheNormalPath(t *testing.T) {
	d, _, err := distribution(t, same)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, normal, asSent string }{
		{"/a/v3/sync", "Url", "Url"},
		{"/a//sync", "Api", "Url"},
		{"/a/v3/x/../sync", "Url", "Url"},
		{"/b/../a/v3/sync", "Url", "Api"},
		{"/a/v3/%73ync", "Url", "Api"},
		{"/a/v3%2Fx/sync", "Url", "Url"},
		{"/a/v3/sync/", "Api", "Api"},
		{"/A/v3/sync", "Api", "Api"},
	} {
		if got := d.Match(tt.path).TargetOriginID; got != tt.normal {
			t.Errorf("%s goes to %s, want %s", tt.path, got, tt.normal)
		}
		if got := d.AsSent().Match(tt.path).TargetOriginID; got != tt.asSent {
			t.Errorf("%s as sent goes to %s, want %s", tt.path, got, tt.asSent)
		}
	}
}

func TestCloudFrontRefuses(t *testing.T) {
	d, seen, err := distribution(t, same)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, uri, body string
		status            int
	}{
		{"GET", "/x", "a body", 403},
		{"DELETE", "/x", "", 403},
		{"POST", "/a/v3/sync", "", 403},
		{"GET", "/" + strings.Repeat("x", maxURL), "", 414},
		{"GET", "/x", "", 200},
	} {
		if w := ask(d, tt.method, tt.uri, tt.body); w.Code != tt.status {
			t.Errorf("%s %.20s: %d, want %d", tt.method, tt.uri, w.Code, tt.status)
		}
	}
	seen.Pattern = ""
	ask(d, "GET", "/x", "", "X-Careless: 1")
	if !strings.Contains(seen.Pattern, "may keep") {
		t.Error("nobody complains of an answer that a cache may keep")
	}
}

func TestADistributionThatKeepsAnythingIsRefused(t *testing.T) {
	for name, change := range map[string][2]string{
		"an error that is kept":        {`"ErrorCode":404`, `"ErrorCode":499`},
		"an error that is kept for 1s": {`"ErrorCachingMinTTL":0`, `"ErrorCachingMinTTL":1`},
		"a policy that keeps":          {`"CachePolicyId": "none"`, `"CachePolicyId": "some"`},
		"a policy of others":           {`"CachePolicyId": "none"`, `"CachePolicyId": "unknown"`},
		"an origin that is not":        {`"DomainName": "url.aws"`, `"DomainName": "else.aws"`},
		"a distribution that is off":   {`"Enabled": true`, `"Enabled": false`},
	} {
		_, _, err := distribution(t, func(text string) string {
			changed := strings.Replace(text, change[0], change[1], 1)
			if changed == text {
				t.Fatalf("%s: nothing changes", name)
			}
			return changed
		})
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
