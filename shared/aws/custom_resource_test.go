package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// cloudFormation plays the place where CloudFormation reads answers.
type cloudFormation struct {
	mu      sync.Mutex
	refuse  int // how many answers it loses
	puts    int
	answers []stackAnswer
	headers http.Header
}

func (f *cloudFormation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.puts++
	body, err := io.ReadAll(r.Body)
	var a stackAnswer
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	switch {
	case err != nil || r.Method != http.MethodPut || r.ContentLength != int64(len(body)):
		w.WriteHeader(http.StatusBadRequest)
	case f.refuse > 0:
		f.refuse--
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		f.answers, f.headers = append(f.answers, a), r.Header
	}
}

func (f *cloudFormation) start(t *testing.T) (url string) {
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return srv.URL + "/answer?signature=x%2Fy"
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func event(request, url string) []byte {
	e, _ := json.Marshal(map[string]any{ // strings
		"RequestType": request, "ResponseURL": url, "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/test/1",
		"RequestId": "request-1", "ResourceType": "Custom::VirgaKey", "LogicalResourceId": "Key",
		"ResourceProperties": map[string]any{"ServiceToken": "arn", "A": "1", "B": []string{"x"}},
	})
	return e
}

func TestCloudFormationIsAlwaysAnswered(t *testing.T) {
	for _, tt := range []struct {
		name   string
		event  func(url string) []byte
		do     func(context.Context, resource) (given, error)
		status string
		reason string
	}{
		{"what succeeds", func(u string) []byte { return event("Create", u) },
			func(_ context.Context, r resource) (given, error) {
				if r.request != "Create" || r.typ != "Custom::VirgaKey" || r.logical != "Key" || r.id != "" || r.properties["A"] != "1" {
					return given{}, fmt.Errorf("got %+v", r)
				}
				return given{data: map[string]string{"Key": "k"}}, nil
			}, "SUCCESS", ""},
		{"what fails", func(u string) []byte { return event("Create", u) },
			func(context.Context, resource) (given, error) { return given{}, errors.New("no") }, "FAILED", "no"},
		{"a long reason", func(u string) []byte { return event("Create", u) },
			func(context.Context, resource) (given, error) {
				return given{}, errors.New(strings.Repeat("ü", 10_000))
			}, "FAILED", "ü"},
		{"a panic", func(u string) []byte { return event("Create", u) },
			func(context.Context, resource) (given, error) { panic("secret") }, "FAILED", "the function crashed: see its log"},
		{"an event with the wrong types", func(u string) []byte {
			return fmt.Appendf(nil, `{"ResponseURL":%q,"RequestType":1,"LogicalResourceId":[],"ResourceProperties":"x"}`, u)
		}, nil, "FAILED", "the event has no ResourceProperties"},
		{"an event of nothing but the address", func(u string) []byte { return fmt.Appendf(nil, `{"ResponseURL":%q}`, u) },
			nil, "FAILED", "the event has no ResourceProperties"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f cloudFormation
			var log strings.Builder
			c := custom{log: slog.New(slog.NewTextHandler(&log, nil)), stack: "test", client: http.DefaultClient, local: "127.0.0.1", do: tt.do}
			if _, err := c.Invoke(t.Context(), tt.event(f.start(t))); err != nil {
				t.Fatal(err)
			}
			if len(f.answers) != 1 {
				t.Fatalf("%d answers", len(f.answers))
			}
			a := f.answers[0]
			if a.Status != tt.status || !strings.HasPrefix(a.Reason, tt.reason) || (a.Reason == "") != (tt.status == "SUCCESS") || a.PhysicalResourceID == "" || !a.NoEcho {
				t.Errorf("answered %+v", a)
			}
			if tt.status == "SUCCESS" && (a.Data["Key"] != "k" || a.PhysicalResourceID != "test_Key" || a.RequestID != "request-1" || a.LogicalResourceID != "Key" || !strings.HasSuffix(a.StackID, "stack/test/1")) {
				t.Errorf("answered %+v", a)
			}
			if f.headers.Get("Content-Type") != "" {
				t.Error("the signature of the address knows no Content-Type")
			}
			if (log.Len() > 0) != (tt.status == "FAILED") {
				t.Errorf("logged %q", log.String())
			}
		})
	}
}

func TestAnswersAreRepeatedUntilTheyArrive(t *testing.T) {
	f := cloudFormation{refuse: 2}
	c := custom{log: quiet(), stack: "test", client: http.DefaultClient, local: "127.0.0.1",
		do: func(context.Context, resource) (given, error) { return given{}, nil }}
	if _, err := c.Invoke(t.Context(), event("Create", f.start(t))); err != nil || len(f.answers) != 1 || f.puts != 3 {
		t.Errorf("%v, %d answers in %d tries", err, len(f.answers), f.puts)
	}
	f = cloudFormation{refuse: 100}
	_, err := c.Invoke(t.Context(), event("Create", f.start(t)))
	if err == nil || strings.Contains(err.Error(), "signature") {
		t.Errorf("got %v, want an error that does not hold the address", err)
	}
}

func TestOnlyAmazonIsAnswered(t *testing.T) {
	done := false
	c := custom{log: quiet(), stack: "test", client: http.DefaultClient,
		do: func(context.Context, resource) (given, error) { done = true; return given{}, nil }}
	for _, url := range []string{
		"", "x", "https://", "https://example.org/", "http://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/x",
		"https://amazonaws.com.example.org/", "https://examplea-mazonaws.com/", "https://xamazonaws.com/", "https://s3.amazonaws.com:8443/",
		"https://a@s3.amazonaws.com/", "http://127.0.0.1/", "ftp://s3.amazonaws.com/", "https://example.org/.amazonaws.com", "https://example.org#.amazonaws.com",
	} {
		if _, err := c.Invoke(t.Context(), event("Create", url)); err == nil || done {
			t.Errorf("%q is accepted", url)
		}
	}
	for _, url := range []string{
		"https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/x?Signature=y",
		"https://cloudformation-custom-resource-response-cnnorth1.s3.cn-north-1.amazonaws.com.cn/x",
	} {
		if _, err := c.address(url); err != nil {
			t.Error(err)
		}
	}
	for _, text := range []string{"", "null", "[]", "no JSON"} {
		if _, err := c.Invoke(t.Context(), []byte(text)); err == nil {
			t.Errorf("%q is an event", text)
		}
	}
}

// loopback answers requests without a network, which a bubble of synctest needs.
type loopback struct{ http.Handler }

func (l loopback) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	l.ServeHTTP(rec, r)
	return rec.Result(), nil
}

func TestTheEndOfTheTimeIsAnswered(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(context.Context, resource) (given, error)
		took time.Duration
	}{
		{"work that notices", func(ctx context.Context, _ resource) (given, error) { <-ctx.Done(); return given{}, ctx.Err() }, 100 * time.Second},
		{"work that does not", func(context.Context, resource) (given, error) { time.Sleep(time.Hour); return given{}, nil }, 105 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f cloudFormation
				c := custom{log: quiet(), stack: "test", client: &http.Client{Transport: loopback{&f}}, local: "local", do: tt.do}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				start := time.Now()
				if _, err := c.Invoke(ctx, event("Delete", "http://local/")); err != nil {
					t.Fatal(err)
				}
				if len(f.answers) != 1 || f.answers[0].Status != "FAILED" || time.Since(start) != tt.took {
					t.Errorf("answered %+v after %s, want after %s", f.answers, time.Since(start), tt.took)
				}
				time.Sleep(time.Hour) // until the work is over, which nobody waits for
			})
		})
	}
}

func TestWorkGoesOnInAnotherRunAndIsAnsweredOnce(t *testing.T) {
	var f cloudFormation
	runs, last := 0, 3
	c := custom{log: quiet(), stack: "test", client: http.DefaultClient, local: "127.0.0.1",
		do: func(_ context.Context, r resource) (given, error) {
			if runs++; r.request != "Delete" || r.properties["A"] != "1" {
				t.Errorf("run %d is asked %+v", runs, r)
			}
			if runs < last {
				return given{}, errGoOn
			}
			return given{}, nil
		}}
	c.again = func(ctx context.Context, event []byte) error {
		_, err := c.Invoke(ctx, event)
		return err
	}
	url := f.start(t)
	if _, err := c.Invoke(t.Context(), event("Delete", url)); err != nil {
		t.Fatal(err)
	}
	if runs != 3 || len(f.answers) != 1 || f.answers[0].Status != "SUCCESS" {
		t.Errorf("%d runs, %+v", runs, f.answers)
	}
	// It ends before CloudFormation has given up.
	last = 1000
	if _, err := c.Invoke(t.Context(), event("Delete", url)); err != nil {
		t.Fatal(err)
	}
	if runs != 3+1+maxRounds || len(f.answers) != 2 || !strings.Contains(f.answers[1].Reason, "delete the stack again") {
		t.Errorf("%d runs, %+v", runs, f.answers)
	}
	c.again = func(context.Context, []byte) error { return errors.New("throttled") }
	if _, err := c.Invoke(t.Context(), event("Delete", url)); err != nil {
		t.Fatal(err)
	}
	if len(f.answers) != 3 || !strings.Contains(f.answers[2].Reason, "throttled") {
		t.Errorf("%+v", f.answers)
	}
}
