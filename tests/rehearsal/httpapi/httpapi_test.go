package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/tests/rehearsal/lambda"
)

const imported = `{
	"paths": {
		"/$default": {"x-amazon-apigateway-any-method": {"x-amazon-apigateway-integration": {"$ref": "#/components/x-amazon-apigateway-integrations/rest"}}},
		"/a/{x}": {"get": {"x-amazon-apigateway-integration": {"$ref": "#/components/x-amazon-apigateway-integrations/one"}}},
		"/a/b": {"get": {"x-amazon-apigateway-integration": {"$ref": "#/components/x-amazon-apigateway-integrations/two"}}},
		"/a/{x}/": {"put": {"x-amazon-apigateway-integration": {"$ref": "#/components/x-amazon-apigateway-integrations/two"}}},
		"/a/{x}/{more+}": {"get": {"x-amazon-apigateway-integration": {"$ref": "#/components/x-amazon-apigateway-integrations/one"}}},
		"/wait/{place}/a": {"x-amazon-apigateway-any-method": {"x-amazon-apigateway-integration": {
			"type": "AWS_PROXY", "integrationSubtype": "SQS-ReceiveMessage", "payloadFormatVersion": "1.0", "credentials": "role", "timeoutInMillis": 30000,
			"requestParameters": {"QueueUrl": "https://sqs/${request.path.place}a", "Whole": "$request.path.place", "From": "$request.header.x-from", "WaitTimeSeconds": "20"},
			"responseParameters": {"400": {"overwrite:statuscode": "307", "overwrite:header.location": "done", "remove:header.x-no": "''"}}}}}
	},
	"components": {"x-amazon-apigateway-integrations": {"rest": INVOKE(rest), "one": INVOKE(one), "two": INVOKE(two)}}}`

func body(t *testing.T, text string) any {
	t.Helper()
	for _, name := range []string{"rest", "one", "two"} {
		text = strings.ReplaceAll(text, "INVOKE("+name+")", `{"type": "AWS_PROXY", "payloadFormatVersion": "2.0", "credentials": "role", "timeoutInMillis": 200,
			"uri": "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:123456789012:function:`+name+`/invocations"}`)
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func api(t *testing.T, o Options) *API {
	t.Helper()
	if o.Complain == nil {
		o.Complain = func(format string, args ...any) { t.Errorf(format, args...) }
	}
	o.ID, o.Account, o.Region = "abc", "123456789012", "us-east-1"
	a, err := New(body(t, imported), o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ask(a *API, method, uri, text string) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest(method, "/", strings.NewReader(text))
	r.RequestURI = uri
	r.Header.Set("X-From", "header")
	a.ServeHTTP(w, r)
	return w
}

// The routes that a path takes, with what the gateway does to it first.
func TestAPathIsDecodedAndCutBeforeItsRouteIsFound(t *testing.T) {
	a := api(t, Options{})
	for _, tt := range []struct{ method, path, key, x string }{
		{"GET", "/a/b", "GET /a/b", ""},
		{"GET", "/a/c", "GET /a/{x}", "c"},
		{"GET", "/a/%62", "GET /a/b", ""},
		{"GET", "/a/c%3Fd", "GET /a/{x}", "c"},
		{"GET", "/a%2Fc", "GET /a/{x}", "c"},
		{"GET", "/a/c%2Fd", "GET /a/{x}/{more+}", "c"},
		{"GET", "/a/c/d/e", "GET /a/{x}/{more+}", "c"},
		{"GET", "/a/", "$default", ""},
		{"GET", "/a/c/", "$default", ""},
		{"PUT", "/a/c/", "PUT /a/{x}/", "c"},
		{"PUT", "/a/c", "$default", ""},
		{"HEAD", "/a/b", "$default", ""},
		{"GET", "/a/%zz", "GET /a/{x}", "%zz"},
		{"DELETE", "/wait/p/a", "ANY /wait/{place}/a", ""},
		{"GET", "/", "$default", ""},
	} {
		r, parameters, ok := a.Find(tt.method, tt.path)
		if !ok || r.Key() != tt.key || parameters["x"] != tt.x {
			t.Errorf("%s %s takes %q with %v, want %q with %q", tt.method, tt.path, r.Key(), parameters, tt.key, tt.x)
		}
	}
}

func TestAFunctionIsAskedAndAnswersInFormat2(t *testing.T) {
	var got map[string]any
	a := api(t, Options{Invoke: func(_ context.Context, role, function string, event []byte) ([]byte, error) {
		if role != "role" || function != "one" {
			t.Errorf("%s is invoked by %s", function, role)
		}
		return []byte(`{"statusCode": 201, "headers": {"X-Y": "z"}, "cookies": ["a=b"], "body": "aGVsbG8=", "isBase64Encoded": true}`), json.Unmarshal(event, &got)
	}})
	w := ask(a, "GET", "/a/c%3Fd?q=1&q=2", "")
	if w.Code != 201 || w.Header().Get("X-Y") != "z" || w.Header().Get("Set-Cookie") != "a=b" || w.Body.String() != "hello" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if got["rawPath"] != "/a/c" || got["rawQueryString"] != "q=1&q=2" || got["routeKey"] != "GET /a/{x}" || got["version"] != "2.0" {
		t.Errorf("the event is %v", got)
	}
}

func TestTheGatewayHasAnswersOfItsOwn(t *testing.T) {
	var complaints []string
	a := api(t, Options{
		Complain: func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) },
		Invoke: func(ctx context.Context, _, _ string, event []byte) ([]byte, error) {
			switch {
			case strings.Contains(string(event), "slow"):
				<-ctx.Done()
				return nil, ctx.Err()
			case strings.Contains(string(event), "large"):
				return nil, lambda.ErrTooLarge
			case strings.Contains(string(event), "odd"):
				return []byte(`[]`), nil
			}
			return nil, errors.New("the function fails")
		},
	})
	for _, tt := range []struct {
		uri, body string
		status    int
		message   string
	}{
		{"/a/slow", "", 503, "Service Unavailable"},
		{"/a/large", "", 413, "Request Entity Too Large"},
		{"/a/odd", "", 500, "Internal Server Error"},
		{"/a/else", "", 500, "Internal Server Error"},
		{"/a/" + strings.Repeat("x", maxHead), "", 431, "Request Header Fields Too Large"},
		{"/a/x", strings.Repeat("x", maxBody+1), 413, "Request Entity Too Large"},
	} {
		w := ask(a, "GET", tt.uri, tt.body)
		if want := `{"message":"` + tt.message + `"}`; w.Code != tt.status || strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("%.20s: %d %s, want %d %s", tt.uri, w.Code, w.Body, tt.status, want)
		}
	}
	if len(complaints) != 4 {
		t.Errorf("complaints: %q", complaints)
	}
}

func TestAnIntegrationWithAServiceIsMapped(t *testing.T) {
	status := 400
	a := api(t, Options{Call: func(_ context.Context, c Call) (*http.Response, error) {
		want := map[string]string{"QueueUrl": "https://sqs/p~a", "Whole": "p~", "From": "header", "WaitTimeSeconds": "20"}
		if c.Subtype != "SQS-ReceiveMessage" || c.Role != "role" || fmt.Sprint(c.Parameters) != fmt.Sprint(want) {
			t.Errorf("the call is %+v", c)
		}
		return &http.Response{StatusCode: status, Header: http.Header{"X-No": {"1"}, "X-Yes": {"1"}}, Body: io.NopCloser(strings.NewReader("what SQS said"))}, nil
	}})
	w := ask(a, "POST", "/wait/p~/a", "")
	if w.Code != 307 || w.Header().Get("Location") != "done" || w.Header().Get("X-No") != "" || w.Header().Get("X-Yes") != "1" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	status = 418 // which nothing maps
	if w := ask(a, "GET", "/wait/p~/a", ""); w.Code != 418 || w.Header().Get("Location") != "" || w.Body.String() != "what SQS said" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestDefinitionsThatTheGatewayDoesNotImport(t *testing.T) {
	for name, change := range map[string][2]string{
		"another key for the subtype": {"integrationSubtype", "subtype"},
		"a format of services":        {`"payloadFormatVersion": "1.0"`, `"payloadFormatVersion": "2.0"`},
		"a timeout above 30 s":        {`"timeoutInMillis": 30000`, `"timeoutInMillis": 30001`},
		"an integration that is not":  {`integrations/one"`, `integrations/three"`},
	} {
		text := strings.Replace(imported, change[0], change[1], 1)
		if text == imported {
			t.Fatalf("%s: nothing changes", name)
		}
		if _, err := New(body(t, text), Options{}); err == nil {
			t.Errorf("%s is imported", name)
		}
	}
	if maxTimeout != 30*time.Second {
		t.Error("an HTTP API waits for 30 s at most")
	}
}
