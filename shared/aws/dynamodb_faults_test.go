package aws_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/store"
)

// faults stands between the store and a server and spoils answers. A plan says
// what becomes of the next requests, one word each; when it is used up, all
// goes well.
type faults struct {
	server *httputil.ReverseProxy
	mu     sync.Mutex
	plan   []string
	seen   [][]byte // bodies of the requests
}

// The words of a plan; any other is the code of an error that is answered
// instead of asking the server.
const (
	lost = "lost" // the server does it, and the connection ends without an answer
	fine = "fine"
)

func withFaults(t *testing.T) (store.DB, *faults) {
	t.Helper()
	target, err := url.Parse(awstest.DynamoDB(t))
	if err != nil {
		t.Fatal(err)
	}
	f := &faults{server: httputil.NewSingleHostReverseProxy(target)}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return aws.NewDB(awstest.Options(srv.URL)), f
}

func (f *faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	f.mu.Lock()
	f.seen = append(f.seen, body)
	word := fine
	if len(f.plan) > 0 {
		word, f.plan = f.plan[0], f.plan[1:]
	}
	f.mu.Unlock()
	switch word {
	case fine:
		f.server.ServeHTTP(w, r)
	case lost:
		f.server.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	default:
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		status := http.StatusBadRequest
		if word == "InternalServerError" {
			status = http.StatusInternalServerError
		}
		w.WriteHeader(status)
		if !strings.HasPrefix(word, "{") {
			word = `{"__type":"com.amazonaws.dynamodb.v20120810#` + word + `","message":"as planned"}`
		}
		_, _ = io.WriteString(w, word)
	}
}

// of sets the plan for what comes next.
func (f *faults) of(words ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan, f.seen = words, nil
}

func (f *faults) requests() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

var key = store.Key{Part: "p", Sort: "s"}

const throttle = "ProvisionedThroughputExceededException"

// certain reports whether the error says that nothing was written.
func certain(err error) bool {
	return store.Failed(err) != nil || errors.Is(err, store.ErrThrottled) || errors.Is(err, store.ErrConflict)
}

func TestLostAnswerOfAWriteIsNotMistaken(t *testing.T) {
	db, f := withFaults(t)
	ctx := t.Context()
	put := store.Put(store.Users, key, store.Attrs{"a": "x"})

	// The repetition meets the item of the first attempt.
	f.of(lost)
	if _, err := db.Write(ctx, put.If(store.NotExists())); err == nil || certain(err) {
		t.Errorf("conditional put: %v", err)
	}
	if n := len(f.requests()); n != 2 {
		t.Errorf("conditional put: %d attempts", n)
	}
	if it, err := db.Get(ctx, store.Ref{Table: store.Users, Key: key}, store.Consistent); err != nil || it.Str("a") != "x" {
		t.Errorf("get: %v, %v", it, err)
	}
	f.of(lost, throttle, throttle)
	if _, err := db.Write(ctx, put); err == nil || certain(err) {
		t.Errorf("put, then throttled: %v", err)
	}
	f.of(lost)
	if it, err := db.Write(ctx, put); err != nil || it.Str("a") != "x" {
		t.Errorf("put: %v, %v", it, err)
	}
	f.of("InternalServerError", lost)
	if _, err := db.Write(ctx, store.Delete(store.Users, key).If(store.Exists())); err == nil || certain(err) {
		t.Errorf("conditional delete: %v", err)
	}
}

func TestLostAnswerOfAnAdditionIsNotAddedTwice(t *testing.T) {
	db, f := withFaults(t)
	ctx := t.Context()
	f.of(lost)
	if _, err := db.Write(ctx, store.Update(store.Users, key).Add("n", 1)); err == nil || certain(err) {
		t.Errorf("got %v", err)
	}
	it, err := db.Get(ctx, store.Ref{Table: store.Users, Key: key}, store.Consistent)
	if err != nil || it.Int("n") != 1 {
		t.Errorf("n is %d, %v", it.Int("n"), err)
	}
	// A refusal is no answer that was lost.
	f.of(throttle)
	if it, err := db.Write(ctx, store.Update(store.Users, key).Add("n", 1)); err != nil || it.Int("n") != 2 {
		t.Errorf("n is %d, %v", it.Int("n"), err)
	}
}

func TestLostAnswerOfATransactionIsAskedForAgain(t *testing.T) {
	db, f := withFaults(t)
	ctx := t.Context()
	f.of(lost)
	if err := db.Transact(ctx,
		store.Put(store.Users, key, nil).If(store.NotExists()),
		store.Update(store.Rooms, key).Add("n", 1),
	); err != nil {
		t.Errorf("got %v", err)
	}
	if seen := f.requests(); len(seen) != 2 || !bytes.Equal(seen[0], seen[1]) || !bytes.Contains(seen[0], []byte("ClientRequestToken")) {
		t.Errorf("the attempts differ: %s", seen)
	}
	it, err := db.Get(ctx, store.Ref{Table: store.Rooms, Key: key}, store.Consistent)
	if err != nil || it.Int("n") != 1 {
		t.Errorf("n is %d, %v", it.Int("n"), err)
	}
	f.of(lost, "TransactionInProgressException", "TransactionInProgressException")
	if err := db.Transact(ctx, store.Delete(store.Users, key)); err == nil || certain(err) {
		t.Errorf("in progress: %v", err)
	}
}

func TestRefusalsHaveNames(t *testing.T) {
	db, f := withFaults(t)
	ctx := t.Context()
	ref := store.Ref{Table: store.Users, Key: key}
	put := store.Put(store.Users, key, nil)
	canceled := func(codes string) string {
		return `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"as planned","CancellationReasons":[` + codes + `]}`
	}
	for name, c := range map[string]struct {
		plan []string
		want error
		call func() error
	}{
		"get":      {[]string{throttle, throttle, throttle}, store.ErrThrottled, func() error { _, err := db.Get(ctx, ref, store.Eventual); return err }},
		"batch":    {[]string{"ThrottlingException", throttle, throttle}, store.ErrThrottled, func() error { _, err := db.BatchGet(ctx, []store.Ref{ref}, store.Eventual); return err }},
		"query":    {[]string{"RequestLimitExceeded", throttle, throttle}, store.ErrThrottled, func() error { _, err := db.Query(ctx, store.Query{Table: store.Users, Part: "p"}); return err }},
		"write":    {[]string{throttle, throttle, throttle}, store.ErrThrottled, func() error { _, err := db.Write(ctx, put); return err }},
		"conflict": {[]string{"TransactionConflictException"}, store.ErrConflict, func() error { _, err := db.Write(ctx, put); return err }},
		"transact": {[]string{throttle, throttle, throttle}, store.ErrThrottled, func() error { return db.Transact(ctx, put) }},
		"transaction in the way": {[]string{canceled(`{"Code":"TransactionConflict"}`)}, store.ErrConflict,
			func() error { return db.Transact(ctx, put) }},
		"transaction throttled": {[]string{canceled(`{"Code":"ThrottlingError"}`)}, store.ErrThrottled,
			func() error { return db.Transact(ctx, put) }},
	} {
		f.of(c.plan...)
		if err := c.call(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	f.of(canceled(`{"Code":"TransactionConflict"},{"Code":"ConditionalCheckFailed","Item":{"p":{"S":"p"},"s":{"S":"t"},"n":{"N":"7"}}}`))
	err := db.Transact(ctx, put, store.Check(store.Users, store.Key{Part: "p", Sort: "t"}, store.NotExists()))
	if failed := store.Failed(err); failed == nil || len(failed.Failed) != 1 || failed.Failed[1].Int("n") != 7 {
		t.Errorf("a conflict and a failed condition: %v", err)
	}
	f.of("ResourceNotFoundException")
	if _, err := db.Get(ctx, ref, store.Eventual); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("a missing table: %v", err)
	}
}

func TestThrottledReadIsTriedAgain(t *testing.T) {
	db, f := withFaults(t)
	if _, err := db.Write(t.Context(), store.Put(store.Users, key, nil)); err != nil {
		t.Fatal(err)
	}
	f.of(throttle, "InternalServerError")
	if _, err := db.Get(t.Context(), store.Ref{Table: store.Users, Key: key}, store.Consistent); err != nil {
		t.Error(err)
	}
}

func TestEndOfContextIsVisible(t *testing.T) {
	db, f := withFaults(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Write(ctx, store.Put(store.Users, key, nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := len(f.requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}
