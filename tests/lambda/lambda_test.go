package lambda

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/tests/server"
)

// world is a homeserver that answers requests.
type world interface {
	answer(t *testing.T, r *http.Request, body string) (status int, header http.Header, text string)
}

// locally is the handler of infra/local.
type locally struct{ http.Handler }

func (l locally) answer(_ *testing.T, r *http.Request, _ string) (int, http.Header, string) {
	rec := httptest.NewRecorder()
	l.ServeHTTP(rec, r)
	return rec.Code, rec.Header(), rec.Body.String()
}

// onLambda is a function for each route over one DynamoDB, reached as through
// the front door and the gateway.
type onLambda struct {
	binary    string
	env       map[string]string
	routes    *http.ServeMux
	names     map[string]string // by pattern
	functions map[string]*Function
}

func newOnLambda(t *testing.T, settings map[string]string) *onLambda {
	endpoint := awstest.DynamoDB(t)
	w := &onLambda{
		binary: Build(t), routes: http.NewServeMux(), names: map[string]string{}, functions: map[string]*Function{},
		env: map[string]string{
			"VIRGA_STACK": awstest.Stack, "VIRGA_BUCKET": awstest.Bucket, "AWS_ENDPOINT_URL": endpoint,
			"VIRGA_DOOR_SECRET": "now,next", "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		},
	}
	for name, value := range settings {
		w.env[name] = value
	}
	for _, r := range api.Routes() {
		for _, p := range r.Patterns() {
			w.routes.Handle(p, http.NotFoundHandler())
			w.names[p] = r.Name
		}
	}
	return w
}

func (w *onLambda) function(t *testing.T, name string) *Function {
	if w.functions[name] == nil {
		w.functions[name] = New(t, w.binary, name, w.env)
	}
	return w.functions[name]
}

// event is what the function of a request gets; a function URL has its own host
// name, and is otherwise like the gateway.
func event(r *http.Request, body, host string) map[string]any {
	headers := map[string]string{"x-virga-secret": "next", "x-virga-uri": r.RequestURI, "x-virga-ip": "203.0.113.7", "host": host}
	for k := range r.Header {
		headers[strings.ToLower(k)] = r.Header.Get(k)
	}
	return map[string]any{
		"version": "2.0", "routeKey": r.Method + " /", "rawPath": strings.ReplaceAll(r.URL.EscapedPath(), "%", "~"), "rawQueryString": "",
		"headers": headers, "body": body, "isBase64Encoded": false,
		"requestContext": map[string]any{
			"domainName": host, "http": map[string]any{"method": r.Method, "path": "/", "sourceIp": "198.51.100.1"},
		},
	}
}

const (
	gatewayHost = "abc.execute-api.us-east-1.amazonaws.com"
	urlHost     = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws"
)

// route finds the function that answers a request.
func (w *onLambda) route(t *testing.T, r *http.Request) *Function {
	name := "unknown"
	if _, pattern := w.routes.Handler(r); w.names[pattern] != "" {
		name = w.names[pattern]
	}
	return w.function(t, name)
}

func (w *onLambda) answer(t *testing.T, r *http.Request, body string) (int, http.Header, string) {
	out, err := w.route(t, r).Invoke(event(r, body, gatewayHost))
	if err != nil {
		t.Fatalf("%s: %v", r.RequestURI, err)
	}
	var a struct {
		StatusCode      int
		Headers         map[string]string
		Body            string
		IsBase64Encoded bool
	}
	if err := json.Unmarshal(out, &a); err != nil || a.IsBase64Encoded {
		t.Fatalf("%s: %s", r.RequestURI, out)
	}
	h := http.Header{}
	for k, v := range a.Headers {
		h.Set(k, v)
	}
	return a.StatusCode, h, a.Body
}

// step is a request. Words with a dollar stand for what an earlier answer of the
// same world held.
type step struct {
	name, method, uri, token, body string
	status                         int
}

var story = []step{
	{"versions", "GET", "/_matrix/client/versions", "", "", 200},
	{"versions with a bare question mark", "GET", "/_matrix/client/versions?", "", "", 200},
	{"well-known", "GET", "/.well-known/matrix/client", "", "", 200},
	{"login flows", "GET", "/_matrix/client/v3/login", "", "", 200},
	{"login flows in the old spelling", "GET", "/_matrix/client/r0/login", "", "", 200},
	{"no JSON", "POST", "/_matrix/client/v3/register", "", "{", 400},
	{"register asks for a dialogue", "POST", "/_matrix/client/v3/register", "", `{"username":"alice","password":"wonderland"}`, 401},
	{"register", "POST", "/_matrix/client/v3/register", "", `{"username":"alice","password":"wonderland","auth":{"type":"m.login.dummy","session":"$session"}}`, 200},
	{"register again", "POST", "/_matrix/client/v3/register", "", `{"username":"alice","password":"wonderland"}`, 400},
	{"whoami", "GET", "/_matrix/client/v3/account/whoami", "$access_token", "", 200},
	{"whoami with the token in the query", "GET", "/_matrix/client/v3/account/whoami?access_token=$access_token", "", "", 200},
	{"whoami with a wrong token", "GET", "/_matrix/client/v3/account/whoami", "wrong", "", 401},
	{"whoami without a token", "GET", "/_matrix/client/v3/account/whoami", "", "", 401},
	{"log in", "POST", "/_matrix/client/v3/login", "", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"wonderland"}`, 200},
	{"log in with a wrong password", "POST", "/_matrix/client/v3/login", "", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"mirror"}`, 403},
	{"set a display name", "PUT", "/_matrix/client/v3/profile/%40alice%3Aexample.org/displayname", "$access_token", `{"displayname":"Alice"}`, 200},
	{"read it with an escaped path", "GET", "/_matrix/client/v3/profile/%40alice:example.org/displayname", "", "", 200},
	{"a parameter that is a slash", "GET", "/_matrix/client/v3/profile/%2F%3F/displayname", "", "", 0},
	{"log out", "POST", "/_matrix/client/v3/logout", "$access_token", "{}", 200},
	{"whoami after it", "GET", "/_matrix/client/v3/account/whoami", "$access_token", "", 401},
	{"no such endpoint", "GET", "/_matrix/client/v3/nothing", "", "", 404},
	{"an r0 that never was", "GET", "/_matrix/client/r0/versions", "", "", 404},
	{"another method", "DELETE", "/_matrix/client/versions", "", "", 405},
	{"two slashes", "GET", "//_matrix/client/versions", "", "", 404},
	{"a dot", "GET", "/_matrix/./client/versions", "", "", 404},
}

// The same requests get the same answers from the local process and from the
// functions, except for what is random.
func TestFunctionsAnswerAsTheLocalServer(t *testing.T) {
	local := server.InProcess(t, nil, "-server-name", "example.org", "-public-baseurl", "https://m.example.org")
	functions := newOnLambda(t, map[string]string{
		"VIRGA_SERVER_NAME": "example.org", "VIRGA_PUBLIC_BASEURL": "https://m.example.org",
		"VIRGA_REGISTRATION": "open", "VIRGA_PASSWORD_COST": "min", "VIRGA_RATE_LIMITS": "off",
	})
	worlds := []world{locally{local.Process.Handler}, functions}
	known := []map[string]string{{}, {}}
	for _, s := range story {
		var statuses [2]int
		var headers [2]http.Header
		var answers [2]any
		for i, w := range worlds {
			r := s.request(known[i])
			status, header, text := w.answer(t, r, known[i]["body"])
			statuses[i], headers[i] = status, header
			if text != "" {
				if err := json.Unmarshal([]byte(text), &answers[i]); err != nil {
					t.Fatalf("%s: %q is no JSON", s.name, text)
				}
			}
			answers[i] = withoutChance(answers[i], known[i])
		}
		if statuses[0] != statuses[1] || s.status != 0 && statuses[0] != s.status {
			t.Errorf("%s: status %d locally and %d on Lambda, want %d", s.name, statuses[0], statuses[1], s.status)
		}
		if !reflect.DeepEqual(answers[0], answers[1]) {
			t.Errorf("%s:\nlocally   %v\non Lambda %v", s.name, answers[0], answers[1])
		}
		for _, h := range []string{"Content-Type", "Access-Control-Allow-Origin", "Access-Control-Allow-Headers", "Cache-Control", "Allow"} {
			if headers[0].Get(h) != headers[1].Get(h) {
				t.Errorf("%s: %s is %q locally and %q on Lambda", s.name, h, headers[0].Get(h), headers[1].Get(h))
			}
		}
	}
	for name, f := range functions.functions {
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		t.Logf("cold start: %s asked for an event after %.1f ms and had answered it after %.1f ms", name, ms(f.Took), ms(f.First))
	}
}

func (s step) request(known map[string]string) *http.Request {
	fill := func(text string) string {
		for name, value := range known {
			text = strings.ReplaceAll(text, "$"+name, value)
		}
		return text
	}
	body := fill(s.body)
	known["body"] = body
	r := httptest.NewRequest(s.method, "/", strings.NewReader(body))
	r.RequestURI = fill(s.uri)
	u, err := url.Parse("http://host" + r.RequestURI)
	if err != nil {
		panic(err)
	}
	u.Scheme, u.Host = "", ""
	r.URL = u
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+fill(s.token))
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// withoutChance replaces what a server draws at random, and keeps it for the
// next requests.
func withoutChance(v any, known map[string]string) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			text, ok := e.(string)
			if ok && text != "" && (k == "access_token" || k == "session" || k == "device_id" || k == "refresh_token") {
				known[k], v[k] = text, "<"+k+">"
				continue
			}
			v[k] = withoutChance(e, known)
		}
	case []any:
		for i, e := range v {
			v[i] = withoutChance(e, known)
		}
	}
	return v
}

// Workers get the events that their triggers send.
func TestWorkersTakeTheirEvents(t *testing.T) {
	w := newOnLambda(t, map[string]string{"VIRGA_SERVER_NAME": "example.org"})
	var given []byte // what the stack is told
	stack := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { given, _ = io.ReadAll(r.Body) }))
	defer stack.Close()
	for _, worker := range api.Workers() {
		var event any
		switch on := worker.On.String(); {
		case strings.HasPrefix(on, "every "):
			event = map[string]any{"version": "0", "detail-type": "Scheduled Event", "source": "aws.events"}
		case strings.HasSuffix(on, " changes"):
			event = map[string]any{"Records": []any{map[string]any{
				"eventID": "1", "eventName": "INSERT", "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/test_" + strings.TrimSuffix(on, " changes") + "/stream/2026-11-21T00:00:00.000",
				"dynamodb": map[string]any{"Keys": map[string]any{"p": map[string]string{"S": "ALIAS##none:example.org"}, "s": map[string]string{"S": "A"}}},
			}}}
		case on == "the stack":
			event = map[string]any{
				"RequestType": "Create", "ResponseURL": stack.URL, "ResourceType": "Custom::VirgaKey", "LogicalResourceId": "Key",
				"ResourceProperties": map[string]string{},
			}
		default:
			event = map[string]any{"Records": []any{}}
		}
		if out, err := w.function(t, worker.Name).Invoke(event); err != nil {
			t.Errorf("%s: %v", worker.Name, err)
		} else {
			t.Logf("%s answers %s", worker.Name, out)
		}
	}
	if !strings.Contains(string(given), `"Status":"SUCCESS"`) || !strings.Contains(string(given), `"Key":`) {
		t.Errorf("the stack is given %s", given)
	}
}

// A function is reached by its gateway's own address too, and by its own where it
// has one.
func TestFunctionsRefuseWhoDoesNotComeThroughTheDoor(t *testing.T) {
	w := newOnLambda(t, map[string]string{"VIRGA_SERVER_NAME": "example.org", "VIRGA_PUBLIC_BASEURL": "https://m.example.org"})
	for _, name := range []string{"getVersions", "unknown", "all"} {
		for _, secret := range []string{"", "now,next", "wrong"} {
			out, err := w.function(t, name).Invoke(map[string]any{
				"version": "2.0", "routeKey": "GET /", "rawPath": "/_matrix/client/versions",
				"headers":        map[string]string{"x-virga-uri": "/_matrix/client/versions", "x-virga-secret": secret},
				"requestContext": map[string]any{"http": map[string]any{"method": "GET", "path": "/", "sourceIp": "198.51.100.1"}},
			})
			if err != nil || !strings.Contains(string(out), `"statusCode":403`) || !strings.Contains(string(out), "use https://m.example.org instead") {
				t.Errorf("%s with the secret %q: %s, %v", name, secret, out, err)
			}
		}
	}
	_, err := New(t, w.binary, "getVersions", map[string]string{"VIRGA_STACK": "test", "VIRGA_SERVER_NAME": "example.org"}).Invoke(nil)
	if err == nil || !strings.Contains(err.Error(), "VIRGA_DOOR_SECRET") {
		t.Errorf("a function without a secret starts: %v", err)
	}
}

// A function of a whole section answers all its routes, and the function for the
// rest answers none: a gateway does not count HEAD as GET, so it comes there.
func TestFunctionsOfManyRoutesAndOfNone(t *testing.T) {
	w := newOnLambda(t, map[string]string{"VIRGA_SERVER_NAME": "example.org"})
	for name := range w.names {
		w.names[name] = "all"
	}
	for _, s := range []step{
		{"versions", "GET", "/_matrix/client/versions", "", "", 200},
		{"login flows", "GET", "/_matrix/client/r0/login", "", "", 200},
		{"no token", "GET", "/_matrix/client/v3/account/whoami", "", "", 401},
		{"a method that none has", "PATCH", "/_matrix/client/versions", "", "", 405},
	} {
		if status, _, _ := w.answer(t, s.request(map[string]string{}), ""); status != s.status {
			t.Errorf("%s: status %d, want %d", s.name, status, s.status)
		}
	}
	clear(w.names)
	for _, s := range []step{
		{"HEAD", "HEAD", "/_matrix/client/versions", "", "", 405},
		{"a route that the gateway knows", "GET", "/_matrix/client/versions", "", "", 405},
		{"another method", "DELETE", "/_matrix/client/versions", "", "", 405},
		{"another path", "GET", "/_matrix/client/nothing", "", "", 404},
	} {
		if status, _, _ := w.answer(t, s.request(map[string]string{}), ""); status != s.status {
			t.Errorf("unknown, %s: status %d, want %d", s.name, status, s.status)
		}
	}
}

func TestAFunctionOfOtherNameDoesNotStart(t *testing.T) {
	binary := Build(t)
	for handler, want := range map[string]string{
		"noSuchRoute": `_HANDLER is "noSuchRoute"`,
		"":            "go run ./infra/local",
	} {
		_, err := New(t, binary, handler, map[string]string{"VIRGA_STACK": "test", "VIRGA_SERVER_NAME": "example.org"}).Invoke(nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("handler %q: %v, want %q", handler, err, want)
		}
	}
	_, err := New(t, binary, "unknown", map[string]string{"VIRGA_SERVER_NAME": "example.org"}).Invoke(nil)
	if err == nil || !strings.Contains(err.Error(), "VIRGA_STACK") {
		t.Errorf("without a stack: %v", err)
	}
}
