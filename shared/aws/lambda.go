package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
)

// Function answers one event of Lambda's, in JSON; HTTP makes one. The answer is
// sent as it is read: an error of Read means that it is broken. What reads it closes
// it, if it is an io.Closer.
type Function func(ctx context.Context, event []byte) (io.Reader, error)

// Invocation is a Function whose answer is there at once. Messages, Changes, Timer
// and Provider make one.
type Invocation func(ctx context.Context, event []byte) ([]byte, error)

// Function returns the invocation as a Function.
func (i Invocation) Function() Function {
	return func(ctx context.Context, event []byte) (io.Reader, error) { return whole(i(ctx, event)) }
}

func whole(answer []byte, err error) (io.Reader, error) {
	if err != nil {
		return nil, err
	}
	return bytes.NewReader(answer), nil
}

// Serve answers the events of the function that the process runs as, one after
// the other. It does not return.
func Serve(f Function) {
	lambda.Start(func(ctx context.Context, event json.RawMessage) (io.Reader, error) { return f(ctx, event) })
}

// HandlerName is the name of the route or worker that the function runs.
func HandlerName() string { return os.Getenv("_HANDLER") }

// RequestID returns Lambda's id of the invocation, which is in the log lines
// that Lambda itself writes, or the empty string outside of one.
func RequestID(ctx context.Context) string {
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		return lc.AwsRequestID
	}
	return ""
}

// margin is the time that is left to report how an invocation went when its
// context has ended. At its deadline Lambda stops the process.
const margin = 300 * time.Millisecond

func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-margin))
}

// Timer makes an Invocation of a function that is run in intervals.
func Timer(fn func(context.Context) error) Invocation {
	return func(ctx context.Context, _ []byte) ([]byte, error) {
		ctx, cancel := inTime(ctx)
		defer cancel()
		return []byte("null"), fn(ctx)
	}
}

// Messages makes an Invocation of a function that handles a message. Messages of
// a batch are handled one by one; those that fail, and no others, are reported
// to come again (ReportBatchItemFailures). After a failure the rest of its FIFO
// group is not tried, so that the order of the group stays. Errors are logged
// here, since nobody else sees them.
func Messages(log *slog.Logger, fn func(context.Context, queue.Message) error) Invocation {
	return func(ctx context.Context, event []byte) ([]byte, error) {
		var batch events.SQSEvent
		if err := json.Unmarshal(event, &batch); err != nil {
			return nil, fmt.Errorf("event of a queue: %w", err)
		}
		ctx, cancel := inTime(ctx)
		defer cancel()
		answer := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
		stuck := map[string]bool{}
		for _, record := range batch.Records {
			m := received(record)
			if !stuck[m.Group] {
				err := ctx.Err()
				if err == nil {
					err = fn(ctx, m)
				}
				if err == nil {
					continue
				}
				log.LogAttrs(ctx, slog.LevelError, "message failed", slog.String("request_id", RequestID(ctx)),
					slog.String("message_id", record.MessageId), slog.Int("attempt", m.Attempt), slog.String("err", err.Error()))
				stuck[m.Group] = m.Group != ""
			}
			answer.BatchItemFailures = append(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: record.MessageId})
		}
		return json.Marshal(answer)
	}
}

// received is the message that was sent, except that a deduplication id may be
// its digest.
func received(r events.SQSMessage) queue.Message {
	m := queue.Message{
		Body:  r.Body,
		Group: r.Attributes["MessageGroupId"],
		Dedup: r.Attributes["MessageDeduplicationId"],
	}
	if body, ok := r.MessageAttributes[bodyAttribute]; ok {
		m.Body = string(body.BinaryValue)
	}
	if group, ok := r.MessageAttributes[groupAttribute]; ok {
		m.Group = string(group.BinaryValue)
	}
	m.Attempt, _ = strconv.Atoi(r.Attributes["ApproximateReceiveCount"])
	m.Attempt = max(m.Attempt, 1)
	return m
}

// Changes makes an Invocation of a function that handles a batch of changes of a
// table's stream. It fails as a whole: the function cannot tell which change it
// failed for, and a batch that fails as a whole is halved by Lambda
// (BisectBatchOnFunctionError) until a change that always fails is alone, while
// reporting its first record would only repeat all of it.
func Changes(fn func(context.Context, []store.Change) error) Invocation {
	return func(ctx context.Context, event []byte) ([]byte, error) {
		var batch streamEvent
		if err := json.Unmarshal(event, &batch); err != nil {
			return nil, fmt.Errorf("event of a stream: %w", err)
		}
		changes := make([]store.Change, len(batch.Records))
		for i, record := range batch.Records {
			var err error
			if changes[i], err = record.change(); err != nil {
				return nil, fmt.Errorf("record %s of a stream: %w", record.EventID, err)
			}
		}
		ctx, cancel := inTime(ctx)
		defer cancel()
		if err := fn(ctx, changes); err != nil {
			return nil, err
		}
		return []byte(`{"batchItemFailures":[]}`), nil
	}
}

// streamEvent is what is read of an event of DynamoDB's streams. A record is a
// hint, so its key is all that it needs to have.
type streamEvent struct {
	Records []streamRecord `json:"Records"`
}

type streamRecord struct {
	EventID        string `json:"eventID"`
	EventName      string `json:"eventName"`
	EventSourceARN string `json:"eventSourceARN"`
	UserIdentity   *struct {
		Type        string `json:"type"`
		PrincipalID string `json:"principalId"`
	} `json:"userIdentity"`
	DynamoDB struct {
		Keys map[string]struct {
			S string `json:"S"`
		} `json:"Keys"`
	} `json:"dynamodb"`
}

func (r streamRecord) change() (store.Change, error) {
	t, err := tableOfStream(r.EventSourceARN)
	if err != nil {
		return store.Change{}, err
	}
	c := store.Change{
		Table: t,
		Key:   store.Key{Part: r.DynamoDB.Keys[store.PartAttr].S, Sort: r.DynamoDB.Keys[store.SortAttr].S},
		Expired: r.EventName == "REMOVE" && r.UserIdentity != nil &&
			r.UserIdentity.Type == "Service" && r.UserIdentity.PrincipalID == "dynamodb.amazonaws.com",
	}
	if c.Key.Part == "" || c.Key.Sort == "" {
		return store.Change{}, errors.New("it has no key")
	}
	return c, nil
}

// tableOfStream finds the table of a stream's ARN, which ends in
// table/<stack>_<name>/stream/<time>.
func tableOfStream(arn string) (*store.Table, error) {
	_, rest, _ := strings.Cut(arn, ":table/")
	full, _, _ := strings.Cut(rest, "/")
	_, name, _ := strings.Cut(full, "_")
	for _, t := range store.Tables {
		if t.Name == name {
			return t, nil
		}
	}
	return nil, fmt.Errorf("%q is the stream of no table", arn)
}
