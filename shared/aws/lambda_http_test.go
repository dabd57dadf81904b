package aws_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/virga-im/virga/shared/aws"
)

var door = aws.Door{Accepted: []string{"correct horse"}, URL: "https://m.example.org"}

// invoke sends an event to a handler and decodes the answer.
func invoke(t *testing.T, d aws.Door, event []byte, h http.HandlerFunc) (a events.APIGatewayV2HTTPResponse) {
	t.Helper()
	payload, err := aws.HTTP(d, h)(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(payload).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRequestThroughTheDoorIsAsItWasSent(t *testing.T) {
	mux := http.NewServeMux()
	served := false
	mux.HandleFunc("PUT /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", func(w http.ResponseWriter, r *http.Request) {
		served = true
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for what, c := range map[string][2]string{
			"URI":            {r.RequestURI, "/_matrix/client/v3/room_keys/keys/!abc%3Aexample.org/x%2Fy?version=1&filter=a+b%3F"},
			"room":           {r.PathValue("roomId"), "!abc:example.org"},
			"session":        {r.PathValue("sessionId"), "x/y"},
			"query":          {r.URL.Query().Get("filter"), "a b?"},
			"address":        {r.RemoteAddr, "[2001:db8::7]:0"},
			"authorization":  {r.Header.Get("Authorization"), "Bearer syt_token"},
			"host":           {r.Host, "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com"},
			"body":           {string(body), `{"first_message_index":1,"note":"Grüße"}`},
			"secret":         {r.Header.Get(aws.SecretHeader), ""},
			"header of ours": {r.Header.Get(aws.URIHeader), ""},
		} {
			if c[0] != c[1] {
				t.Errorf("%s: got %q, want %q", what, c[0], c[1])
			}
		}
		if r.ContentLength != int64(len(body)) {
			t.Errorf("length %d", r.ContentLength)
		}
	})
	a := invoke(t, door, testdata(t, "http_front_door.json"), mux.ServeHTTP)
	if !served || a.StatusCode != http.StatusOK {
		t.Errorf("served %v, answered %+v", served, a)
	}
}

// sending is an event that did not come through the door, with a secret that
// somebody sends.
func sending(t *testing.T, secret string) []byte {
	t.Helper()
	var e events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(testdata(t, "http_direct.json"), &e); err != nil {
		t.Fatal(err)
	}
	e.Headers["x-virga-secret"] = secret
	event, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return event
}

func TestWhoComesAnotherWayIsRefused(t *testing.T) {
	several := aws.Door{Accepted: []string{"one", "", "two"}}
	for name, tt := range map[string]struct {
		door  aws.Door
		event []byte
		opens bool
	}{
		"no secret":             {door, testdata(t, "http_direct.json"), false},
		"an empty one":          {door, sending(t, ""), false},
		"a wrong one":           {door, sending(t, "correct horsf"), false},
		"the beginning of it":   {door, sending(t, "correct"), false},
		"the right one":         {door, sending(t, "correct horse"), true},
		"the first of several":  {several, sending(t, "one"), true},
		"the last of several":   {several, sending(t, "two"), true},
		"an empty one of those": {several, sending(t, ""), false},
		"all of them":           {several, sending(t, "one,,two"), false},
		"a door without any":    {aws.Door{}, sending(t, ""), false},
		"no request at all":     {door, []byte(`{"Records":[]}`), false},
	} {
		served := false
		a := invoke(t, tt.door, tt.event, func(w http.ResponseWriter, r *http.Request) {
			served = true
			if r.Header.Get(aws.SecretHeader) != "" {
				t.Errorf("%s: the handler sees the secret", name)
			}
		})
		if served != tt.opens {
			t.Errorf("%s: served %v, want %v", name, served, tt.opens)
		}
		if served {
			continue
		}
		var e struct{ Errcode, Error string }
		if err := json.Unmarshal([]byte(a.Body), &e); err != nil {
			t.Fatal(err)
		}
		if a.StatusCode != http.StatusForbidden || e.Errcode != "M_FORBIDDEN" || !strings.Contains(e.Error, tt.door.URL) || !strings.HasSuffix(e.Error, "instead.") || a.Headers["Content-Type"] != "application/json" {
			t.Errorf("%s: answered %+v", name, a)
		}
	}
}

// What the door did not say is the gateway's idea.
func TestRequestWithoutTheDoorsHeadersIsAsTheGatewayTells(t *testing.T) {
	var e events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(sending(t, "correct horse"), &e); err != nil {
		t.Fatal(err)
	}
	delete(e.Headers, "x-virga-uri")
	delete(e.Headers, "x-virga-ip")
	event, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	a := invoke(t, door, event, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.RequestURI != "/_matrix/media/v3/a%20b/%252F?filename=a%20b.png" || r.RemoteAddr != "203.0.113.9:0" {
			t.Errorf("got %s from %s", r.RequestURI, r.RemoteAddr)
		}
		if string(body) != "\x89PNG\r\n\x1a\n" || r.Header.Get("Cookie") != "one=1; two=2" {
			t.Errorf("body %q, cookies %q", body, r.Header.Get("Cookie"))
		}
	})
	if a.StatusCode != http.StatusOK {
		t.Errorf("answered %+v", a)
	}
}

func TestAFunctionKnowsItsDoor(t *testing.T) {
	t.Setenv(aws.SecretEnv, "")
	if _, err := aws.DoorFromEnvironment("https://m.example.org"); err == nil || !strings.Contains(err.Error(), aws.SecretEnv) {
		t.Errorf("without a secret: %v", err)
	}
	t.Setenv(aws.SecretEnv, "one,two")
	d, err := aws.DoorFromEnvironment("https://m.example.org")
	if err != nil || len(d.Accepted) != 2 || d.Accepted[1] != "two" || d.URL != "https://m.example.org" {
		t.Errorf("%+v, %v", d, err)
	}
}

// at returns an event through the door for the URI.
func at(t *testing.T, method, uri string) []byte {
	t.Helper()
	var e events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(testdata(t, "http_front_door.json"), &e); err != nil {
		t.Fatal(err)
	}
	e.Headers["x-virga-uri"] = uri
	e.RequestContext.HTTP.Method = method
	event, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return event
}

func TestEveryURISurvives(t *testing.T) {
	for _, uri := range []string{
		"/", "//x", "/a//b", "/.", "/a/../b", "/%2e%2e", "/a/", "/a+b", "/~2F", "/%6Aoin", "/a?", "/a??", "/a?b=%2F&c", "/!%23",
		"/" + strings.Repeat("x", 4000),
	} {
		invoke(t, door, at(t, "GET", uri), func(w http.ResponseWriter, r *http.Request) {
			if r.RequestURI != uri || r.URL.RequestURI() != uri || r.URL.Host != "" {
				t.Errorf("%s: got %s, %s", uri, r.RequestURI, r.URL.RequestURI())
			}
		})
	}
	a := invoke(t, door, at(t, "GET", "/%zz"), func(http.ResponseWriter, *http.Request) { t.Error("served /%zz") })
	if a.StatusCode != http.StatusBadRequest {
		t.Errorf("/%%zz: answered %+v", a)
	}
}

func TestAnswersAreEncoded(t *testing.T) {
	get := at(t, "GET", "/")
	a := invoke(t, door, get, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		w.Header().Add("Vary", "Accept")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "17")
		w.WriteHeader(http.StatusAccepted)
		w.Header().Set("Too-Late", "yes")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, `{"a":"<Grüße>"}`)
	})
	if a.StatusCode != http.StatusAccepted || a.Body != `{"a":"<Grüße>"}` || a.IsBase64Encoded ||
		a.Headers["Vary"] != "Origin, Accept" || len(a.Cookies) != 2 || len(a.Headers) != 2 {
		t.Errorf("got %+v", a)
	}
	a = invoke(t, door, get, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("\x89PNG\r\n\x1a\n")) })
	if a.Body != "iVBORw0KGgo=" || !a.IsBase64Encoded || a.Headers["Content-Type"] != "image/png" {
		t.Errorf("got %+v", a)
	}
	a = invoke(t, door, at(t, "HEAD", "/"), func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "x") })
	if a.Body != "" || a.StatusCode != http.StatusOK {
		t.Errorf("HEAD: got %+v", a)
	}
	a = invoke(t, door, get, func(w http.ResponseWriter, r *http.Request) {})
	if a.StatusCode != http.StatusOK || a.Body != "" {
		t.Errorf("nothing: got %+v", a)
	}
}

func TestAnswerTooLargeForLambdaIsAnError(t *testing.T) {
	a := invoke(t, door, at(t, "GET", "/"), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, strings.Repeat("x", 6<<20))
	})
	if a.StatusCode != http.StatusInternalServerError || !strings.Contains(a.Body, "M_TOO_LARGE") ||
		a.Headers["Access-Control-Allow-Origin"] != "*" || a.Headers["Content-Type"] != "application/json" {
		t.Errorf("got %d %.200s %v", a.StatusCode, a.Body, a.Headers)
	}
}

func TestBrokenOffAnswerIsAnError(t *testing.T) {
	broken := aws.HTTP(door, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "{")
		panic(http.ErrAbortHandler)
	}))
	if answer, err := broken(t.Context(), at(t, "GET", "/")); err == nil || answer != nil {
		t.Errorf("got %s, %v", answer, err)
	}
}

func TestContextOfARequest(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx = lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{AwsRequestID: "id"})
	last, _ := ctx.Deadline()
	handler := aws.HTTP(door, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if deadline, ok := r.Context().Deadline(); !ok || !deadline.Before(last) {
			t.Errorf("the deadline is %s, that of Lambda %s", deadline, last)
		}
		if id := aws.RequestID(r.Context()); id != "id" {
			t.Errorf("request id %q", id)
		}
	}))
	if _, err := handler(ctx, at(t, "GET", "/")); err != nil {
		t.Error(err)
	}
	if _, err := handler(t.Context(), []byte("no JSON")); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
