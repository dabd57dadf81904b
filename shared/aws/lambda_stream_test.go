package aws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/virga-im/virga/shared/aws"
)

// byURL returns an event of a function URL, through the door.
func byURL(t *testing.T, method, uri string) []byte {
	t.Helper()
	var e events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(at(t, method, uri), &e); err != nil {
		t.Fatal(err)
	}
	e.RequestContext.DomainName = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-west-1.on.aws"
	event, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return event
}

// prelude is what precedes a body that is streamed.
type prelude struct {
	StatusCode int
	Headers    map[string]string
	Cookies    []string
	Body       *string
}

// preludeOf reads up to the body of a streamed answer.
func preludeOf(t *testing.T, answer io.Reader) (p prelude) {
	t.Helper()
	if typed, ok := answer.(interface{ ContentType() string }); !ok || typed.ContentType() != "application/vnd.awslambda.http-integration-response" {
		t.Fatalf("%T is no streamed answer", answer)
	}
	var text []byte
	for !bytes.HasSuffix(text, make([]byte, 8)) {
		b := make([]byte, 1)
		if _, err := io.ReadFull(answer, b); err != nil {
			t.Fatalf("no prelude in %q: %v", text, err)
		}
		text = append(text, b...)
	}
	if err := json.Unmarshal(text[:len(text)-8], &p); err != nil {
		t.Fatalf("prelude %q: %v", text, err)
	}
	return p
}

func streamed(t *testing.T, method string, h http.HandlerFunc) (p prelude, body string, err error) {
	t.Helper()
	answer, err := aws.HTTP(door, h)(t.Context(), byURL(t, method, "/x"))
	if err != nil {
		t.Fatal(err)
	}
	p = preludeOf(t, answer)
	text, err := io.ReadAll(answer)
	if err := answer.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	return p, string(text), err
}

func TestAnswersByURLAreStreamed(t *testing.T) {
	p, body, err := streamed(t, "GET", func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != "/x" {
			t.Errorf("asked for %s", r.RequestURI)
		}
		w.Header().Add("Vary", "Origin")
		w.Header().Add("Vary", "Accept")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header().Set("Content-Length", "6")
		w.WriteHeader(http.StatusAccepted)
		w.Header().Set("Too-Late", "yes")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, `{"a":`)
		_, _ = io.WriteString(w, `"<Grüße>"}`)
	})
	if p.StatusCode != http.StatusAccepted || body != `{"a":"<Grüße>"}` || err != nil || p.Body != nil ||
		p.Headers["Vary"] != "Origin, Accept" || len(p.Cookies) != 2 || len(p.Headers) != 2 || p.Headers["Content-Type"] != "text/plain; charset=utf-8" {
		t.Errorf("got %+v %q %v", p, body, err)
	}
	for what, h := range map[string]http.HandlerFunc{
		"nothing":        func(http.ResponseWriter, *http.Request) {},
		"only a status":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
		"an empty write": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) },
	} {
		// One byte, for which AWS ends the body.
		if p, body, err := streamed(t, "GET", h); p.StatusCode != http.StatusOK || body != "\n" || err != nil {
			t.Errorf("%s: got %+v %q %v", what, p, body, err)
		}
	}
	if p, body, err = streamed(t, "HEAD", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }); p.StatusCode != http.StatusOK || body != "\n" || err != nil {
		t.Errorf("HEAD: got %+v %q %v", p, body, err)
	}
	if p, body, err = streamed(t, "GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }); p.StatusCode != http.StatusNoContent || body != "" || err != nil {
		t.Errorf("no content: got %+v %q %v", p, body, err)
	}
	if p, body, err = streamed(t, "GET", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusGone) }); p.StatusCode != http.StatusGone || body != "gone\n" || err != nil {
		t.Errorf("an error: got %+v %q %v", p, body, err)
	}
	answer, err := aws.HTTP(aws.Door{Accepted: []string{"another"}}, http.NotFoundHandler())(t.Context(), byURL(t, "GET", "/x"))
	if err != nil || preludeOf(t, answer).StatusCode != http.StatusForbidden {
		t.Errorf("not through the door: %v", err)
	}
	answer, err = aws.HTTP(door, http.NotFoundHandler())(t.Context(), byURL(t, "GET", "/%zz"))
	if err != nil || preludeOf(t, answer).StatusCode != http.StatusBadRequest {
		t.Errorf("/%%zz: %v", err)
	}
}

// No byte of a body waits for the next, and each is held once: by the handler that
// writes it until Lambda has it.
func TestBytesArriveAsTheyAreWritten(t *testing.T) {
	more := make(chan string)
	answer, err := aws.HTTP(door, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for text := range more {
			_, _ = io.WriteString(w, text)
		}
	}))(t.Context(), func() []byte { go func() { more <- "first" }(); return byURL(t, "GET", "/x") }())
	if err != nil {
		t.Fatal(err)
	}
	preludeOf(t, answer)
	for i, text := range []string{"first", "second", strings.Repeat("x", 20<<20)} {
		if i > 0 {
			more <- text
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(answer, got); err != nil || string(got) != text {
			t.Fatalf("part %d: %v", i, err)
		}
	}
	close(more)
	if rest, err := io.ReadAll(answer); len(rest) > 0 || err != nil {
		t.Errorf("then came %q, %v", rest, err)
	}
}

// What is broken off is no complete answer: neither with status nor without.
func TestStreamedAnswerThatBreaksOffIsBroken(t *testing.T) {
	for what, reason := range map[string]any{"broken off": http.ErrAbortHandler, "a panic": "oh no"} {
		p, body, err := streamed(t, "GET", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "{")
			panic(reason)
		})
		if err == nil || body != "{" || p.StatusCode != http.StatusOK {
			t.Errorf("%s: got %+v %q %v", what, p, body, err)
		}
	}
	early := aws.HTTP(door, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		panic(http.ErrAbortHandler)
	}))
	if answer, err := early(t.Context(), byURL(t, "GET", "/x")); err == nil || answer != nil {
		t.Errorf("before the first byte: got %v, %v", answer, err)
	}
	defer func() {
		if p := recover(); p != "oh no" {
			t.Errorf("a panic before the first byte became %v", p)
		}
	}()
	_, _ = aws.HTTP(door, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh no") }))(t.Context(), byURL(t, "GET", "/x"))
}

func TestStreamedAnswerEndsInTime(t *testing.T) {
	event := byURL(t, "GET", "/x")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		answer, err := aws.HTTP(door, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}))(ctx, event)
		if err != nil {
			t.Fatal(err)
		}
		preludeOf(t, answer)
		time.Sleep(time.Minute) // Lambda takes nothing for so long
		if _, err := io.Copy(io.Discard, answer); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the answer ended with %v", err)
		}
		if err := answer.(io.Closer).Close(); err != nil || time.Since(start) > time.Minute {
			t.Errorf("closed after %s: %v", time.Since(start), err)
		}
	})
}

// A client that is gone ends the request.
func TestClosedAnswerEndsItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed error
		answer, err := aws.HTTP(door, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "x")
			<-r.Context().Done()
			_, failed = io.WriteString(w, "y")
		}))(t.Context(), byURL(t, "GET", "/x"))
		if err != nil {
			t.Fatal(err)
		}
		preludeOf(t, answer)
		if _, err := io.ReadFull(answer, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if err := answer.(io.Closer).Close(); err != nil || failed == nil {
			t.Errorf("closed: %v, and then written: %v", err, failed)
		}
	})
}
