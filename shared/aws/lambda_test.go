package aws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
)

func testdata(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func failures(t *testing.T, payload []byte, err error) (ids []string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var answer events.SQSEventResponse
	if err := json.Unmarshal(payload, &answer); err != nil {
		t.Fatal(err)
	}
	for _, f := range answer.BatchItemFailures {
		ids = append(ids, f.ItemIdentifier)
	}
	return ids
}

func TestMessagesAreDecoded(t *testing.T) {
	var got []queue.Message
	worker := aws.Messages(slog.New(slog.DiscardHandler), func(_ context.Context, m queue.Message) error {
		got = append(got, m)
		return nil
	})
	payload, err := worker(t.Context(), testdata(t, "sqs_fifo.json"))
	if ids := failures(t, payload, err); len(ids) > 0 {
		t.Errorf("failed: %v", ids)
	}
	if want := `{"batchItemFailures":[]}`; string(payload) != want {
		t.Errorf("answered %s, want %s", payload, want)
	}
	want := []queue.Message{
		{Body: `{"pdu":1}`, Group: "!a:example.org", Dedup: "peer.example/txn1/0", Attempt: 3},
		{Body: `{"pdu":2}`, Group: "!b b:example.org", Dedup: "peer.example/txn1/1", Attempt: 1},
		{Body: `{"pdu":3}`, Group: "!a:example.org", Dedup: "peer.example/txn1/2", Attempt: 2},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestFailedMessageHoldsBackItsGroupOnly(t *testing.T) {
	var log bytes.Buffer
	var tried []string
	worker := aws.Messages(slog.New(slog.NewTextHandler(&log, nil)), func(_ context.Context, m queue.Message) error {
		tried = append(tried, m.Body)
		if strings.Contains(m.Body, "1") {
			return errors.New("no such room")
		}
		return nil
	})
	payload, err := worker(t.Context(), testdata(t, "sqs_fifo.json"))
	want := []string{"059f36b4-87a3-44ab-83d2-661975830a71", "b5d9f1a0-5d3c-4a86-9f2e-0f1d2c3b4a59"}
	if ids := failures(t, payload, err); !slices.Equal(ids, want) {
		t.Errorf("failed %v, want %v", ids, want)
	}
	if len(tried) != 2 {
		t.Errorf("tried %v, want the first of each group", tried)
	}
	if strings.Count(log.String(), "no such room") != 1 || strings.Contains(log.String(), "pdu") {
		t.Errorf("logged %s", &log)
	}
}

func TestMessagesBeyondTheDeadlineComeAgain(t *testing.T) {
	event := testdata(t, "sqs_fifo.json")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		worker := aws.Messages(slog.New(slog.DiscardHandler), func(ctx context.Context, m queue.Message) error {
			<-ctx.Done() // this one needs the time of all
			return nil
		})
		payload, err := worker(ctx, event)
		if ctx.Err() != nil {
			t.Error("the answer came after the deadline")
		}
		if ids := failures(t, payload, err); len(ids) != 2 {
			t.Errorf("failed: %v, want the last two", ids)
		}
	})
}

func TestChangesAreDecoded(t *testing.T) {
	var got []store.Change
	worker := aws.Changes(func(_ context.Context, cs []store.Change) error {
		got = cs
		return nil
	})
	if _, err := worker(t.Context(), testdata(t, "stream_keys.json")); err != nil {
		t.Fatal(err)
	}
	want := []store.Change{
		{Table: store.Rooms, Key: store.Key{Part: "R#!a:example.org", Sort: "HEAD"}},
		{Table: store.Rooms, Key: store.Key{Part: "R#!a:example.org", Sort: "TXN#@u:example.org#D / room#txn"}, Expired: true},
		{Table: store.Rooms, Key: store.Key{Part: "ALIAS##a:example.org", Sort: "ALIAS"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestChangesFailAsAWhole(t *testing.T) {
	broken := errors.New("broken")
	worker := aws.Changes(func(context.Context, []store.Change) error { return broken })
	if _, err := worker(t.Context(), testdata(t, "stream_keys.json")); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	foreign := bytes.ReplaceAll(testdata(t, "stream_keys.json"), []byte("_rooms/"), []byte("_other/"))
	if _, err := worker(t.Context(), foreign); err == nil || errors.Is(err, broken) {
		t.Errorf("the stream of another table: %v", err)
	}
}

func TestTimerRuns(t *testing.T) {
	ran := false
	worker := aws.Timer(func(context.Context) error { ran = true; return nil })
	if answer, err := worker(t.Context(), []byte(`{"detail-type":"Scheduled Event"}`)); err != nil || !json.Valid(answer) || !ran {
		t.Errorf("ran %v, answered %s, %v", ran, answer, err)
	}
}
