package awstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

func client(endpoint string) *sqs.Client {
	cfg, _ := Config(endpoint)()
	return sqs.NewFromConfig(cfg)
}

// The whole life of a queue, through the SDK.
func TestSDKUnderstandsQueues(t *testing.T) {
	queues := SQS(t)
	c, ctx := client(queues.Endpoint), t.Context()
	made, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: sdk.String("wait_a"), Attributes: map[string]string{"MessageRetentionPeriod": "60"}})
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: sdk.String("wait_a")})
	if err != nil || *found.QueueUrl != *made.QueueUrl {
		t.Errorf("found %+v, %v", found, err)
	}
	in := &sqs.SendMessageInput{QueueUrl: made.QueueUrl, MessageBody: sdk.String("hello"), MessageAttributes: map[string]types.MessageAttributeValue{
		"a": {DataType: sdk.String("Binary"), BinaryValue: []byte{0, 1}}, "b": {DataType: sdk.String("String"), StringValue: sdk.String("x")},
	}}
	if _, err := c.SendMessage(ctx, in); err != nil {
		t.Fatal(err)
	}
	got, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: made.QueueUrl, WaitTimeSeconds: 20, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil || len(got.Messages) != 1 {
		t.Fatalf("received %+v, %v", got, err)
	}
	m := got.Messages[0]
	if *m.Body != "hello" || !bytes.Equal(m.MessageAttributes["a"].BinaryValue, []byte{0, 1}) || *m.MessageAttributes["b"].StringValue != "x" ||
		m.Attributes["ApproximateReceiveCount"] != "1" {
		t.Errorf("received %+v", m)
	}
	count := func(name types.QueueAttributeName) string {
		out, err := c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: made.QueueUrl, AttributeNames: []types.QueueAttributeName{name}})
		if err != nil || len(out.Attributes) != 1 {
			t.Fatalf("%s: %+v, %v", name, out, err)
		}
		return out.Attributes[string(name)]
	}
	if n := count("ApproximateNumberOfMessagesNotVisible"); n != "1" {
		t.Errorf("%s messages are hidden", n)
	}
	if _, err := c.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: made.QueueUrl, ReceiptHandle: m.ReceiptHandle}); err != nil {
		t.Error(err)
	}
	if n := count("ApproximateNumberOfMessages"); n != "1" {
		t.Errorf("%s messages are visible", n)
	}
	for range 2 { // the second deletes what is gone
		if _, err := c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: made.QueueUrl, ReceiptHandle: m.ReceiptHandle}); err != nil {
			t.Error(err)
		}
	}
	list, err := c.ListQueues(ctx, &sqs.ListQueuesInput{QueueNamePrefix: sdk.String("wait_")})
	if err != nil || !slices.Equal(list.QueueUrls, []string{*made.QueueUrl}) {
		t.Errorf("listed %+v, %v", list, err)
	}
	if _, err := c.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: made.QueueUrl}); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: made.QueueUrl}); err != nil {
		t.Error(err)
	}
	_, err = c.SendMessage(ctx, in)
	var gone *types.QueueDoesNotExist
	var api smithy.APIError
	if !errors.As(err, &gone) || !errors.As(err, &api) || api.ErrorCode() != "AWS.SimpleQueueService.NonExistentQueue" {
		t.Errorf("a deleted queue answers %v", err)
	}
	_, err = c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: sdk.String("wait_a")})
	var recent *types.QueueDeletedRecently
	if !errors.As(err, &recent) {
		t.Errorf("a deleted queue is made again: %v", err)
	}
}

func TestPagesOfQueues(t *testing.T) {
	queues := SQS(t)
	for i := range 5 {
		if _, err := queues.Create(fmt.Sprint("wait_", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	pages := sqs.NewListQueuesPaginator(client(queues.Endpoint), &sqs.ListQueuesInput{QueueNamePrefix: sdk.String("wait_"), MaxResults: sdk.Int32(2)})
	for n := 0; pages.HasMorePages() && n < 10; n++ {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page.QueueUrls...)
	}
	if len(got) != 5 || got[4] != queues.URL("wait_4") {
		t.Errorf("listed %v", got)
	}
}

// bubble has queues of its own, without a socket, so that time can be imitated.
type bubble struct {
	*testing.T
	*Queues
}

func inBubble(t *testing.T, test func(b bubble)) {
	synctest.Test(t, func(t *testing.T) { test(bubble{t, NewQueues(QueuesOptions{})}) })
}

func (b bubble) do(operation string, in, out any) (code string) {
	b.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("X-Amz-Target", "AmazonSQS."+operation)
	rec := httptest.NewRecorder()
	b.ServeHTTP(rec, r)
	if rec.Code == http.StatusOK {
		if out != nil {
			if err := json.Unmarshal(rec.Body.Bytes(), out); err != nil {
				b.Fatal(err)
			}
		}
		return ""
	}
	return rec.Header().Get("X-Amzn-Query-Error")
}

func (b bubble) create(name string, attributes map[string]string) {
	b.Helper()
	if _, err := b.Create(name, attributes); err != nil {
		b.Fatal(err)
	}
}

func (b bubble) send(queue, body string) {
	b.Helper()
	in := map[string]any{"QueueUrl": queue, "MessageBody": body}
	if bytes.HasSuffix([]byte(queue), []byte(".fifo")) {
		in["MessageGroupId"], in["MessageDeduplicationId"] = body[:1], body
	}
	if code := b.do("SendMessage", in, nil); code != "" {
		b.Fatal(code)
	}
}

func (b bubble) receive(queue string, n, wait int) (bodies []string, last ReceivedMessage) {
	b.Helper()
	out, err := b.Receive(Receive{QueueURL: queue, MaxNumberOfMessages: &n, WaitTimeSeconds: &wait, AttributeNames: []string{"All"}})
	if err != nil {
		b.Fatal(err)
	}
	for _, m := range out.Messages {
		bodies, last = append(bodies, m.Body), m
	}
	return bodies, last
}

func TestAReceiveWaitsForTheFirstMessage(t *testing.T) {
	inBubble(t, func(b bubble) {
		b.create("q", nil)
		start := time.Now()
		if got, _ := b.receive("q", 10, 20); got != nil || time.Since(start) != 20*time.Second {
			b.Errorf("received %q after %s", got, time.Since(start))
		}
		start = time.Now()
		go func() {
			time.Sleep(7 * time.Second)
			b.send("q", "m")
		}()
		if got, _ := b.receive("q", 10, 20); len(got) != 1 || time.Since(start) != 7*time.Second {
			b.Errorf("received %q after %s", got, time.Since(start))
		}
		start = time.Now()
		if got, m := b.receive("q", 10, 20); got != nil || m.Body != "" || time.Since(start) != 20*time.Second {
			b.Errorf("received %q again after %s", got, time.Since(start))
		}
		if got, m := b.receive("q", 10, 20); len(got) != 1 || m.Attributes["ApproximateReceiveCount"] != "2" || time.Since(start) != 30*time.Second {
			b.Errorf("received %q again after %s: %v", got, time.Since(start), m)
		}
	})
}

// The trap for which there are two queues for one who waits: a request that was
// given up leaves a receive behind, which takes the next message.
func TestAReceiveGoesOnWithoutItsClient(t *testing.T) {
	inBubble(t, func(b bubble) {
		b.create("q", nil)
		ctx, leave := context.WithCancel(b.Context())
		body := []byte(`{"QueueUrl":"q","WaitTimeSeconds":20,"VisibilityTimeout":120}`)
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("X-Amz-Target", "AmazonSQS.ReceiveMessage")
		go b.ServeHTTP(httptest.NewRecorder(), r)
		synctest.Wait()
		leave()
		time.Sleep(5 * time.Second)
		go func() {
			time.Sleep(5 * time.Second)
			b.send("q", "first")
			b.send("q", "second")
		}()
		if got, _ := b.receive("q", 10, 20); !slices.Equal(got, []string{"second"}) {
			b.Errorf("received %q, and the first was to be lost", got)
		}
		if got, _ := b.receive("q", 10, 20); got != nil {
			b.Errorf("received %q", got)
		}
		time.Sleep(100 * time.Second)
		if got, _ := b.receive("q", 10, 0); !slices.Equal(got, []string{"second", "first"}) && !slices.Equal(got, []string{"first", "second"}) {
			b.Errorf("received %q after the visibility timeouts", got)
		}
	})
}

func TestMessagesThatFailTooOftenAreSetAside(t *testing.T) {
	for _, suffix := range []string{"", ".fifo"} {
		inBubble(t, func(b bubble) {
			attributes := map[string]string{}
			if suffix != "" {
				attributes["FifoQueue"] = "true"
			}
			b.create("dead"+suffix, attributes)
			attributes["RedrivePolicy"] = `{"deadLetterTargetArn":"` + b.ARN("dead"+suffix) + `","maxReceiveCount":2}`
			b.create("q"+suffix, attributes)
			b.send("q"+suffix, "ma")
			b.send("q"+suffix, "mb")
			for range 2 {
				if got, _ := b.receive("q"+suffix, 1, 0); !slices.Equal(got, []string{"ma"}) {
					b.Errorf("received %q", got)
				}
				if suffix == "" {
					b.receive("q", 1, 0)
				}
				time.Sleep(time.Minute)
			}
			got, m := b.receive("q"+suffix, 10, 20)
			if suffix != "" && !slices.Equal(got, []string{"mb"}) || suffix == "" && got != nil {
				b.Errorf("received %q once more", got)
			}
			got, m = b.receive("dead"+suffix, 1, 0)
			if !slices.Equal(got, []string{"ma"}) || m.Attributes["DeadLetterQueueSourceArn"] != b.ARN("q"+suffix) {
				b.Errorf("dead: %q, %v", got, m.Attributes)
			}
		})
	}
}

func TestMessagesAreKeptForTheirRetention(t *testing.T) {
	inBubble(t, func(b bubble) {
		b.create("q", map[string]string{"MessageRetentionPeriod": "60"})
		b.send("q", "old")
		time.Sleep(30 * time.Second)
		b.send("q", "new")
		time.Sleep(30 * time.Second)
		if got, _ := b.receive("q", 10, 0); !slices.Equal(got, []string{"new"}) {
			b.Errorf("received %q", got)
		}
	})
}

func TestGroupsOfAFIFOQueueKeepTheirOrder(t *testing.T) {
	inBubble(t, func(b bubble) {
		b.create("q.fifo", map[string]string{"FifoQueue": "true", "DeduplicationScope": "messageGroup", "VisibilityTimeout": "60"})
		for _, body := range []string{"a1", "a2", "b1", "a1"} {
			b.send("q.fifo", body)
		}
		_, first := b.receive("q.fifo", 1, 0)
		if got, _ := b.receive("q.fifo", 10, 0); first.Body != "a1" || !slices.Equal(got, []string{"b1"}) {
			b.Errorf("received %q and then %q", first.Body, got)
		}
		go func() {
			time.Sleep(3 * time.Second)
			b.do("DeleteMessage", map[string]any{"QueueUrl": "q.fifo", "ReceiptHandle": first.ReceiptHandle}, nil)
		}()
		start := time.Now()
		got, second := b.receive("q.fifo", 10, 20)
		if !slices.Equal(got, []string{"a2"}) || time.Since(start) != 3*time.Second {
			b.Errorf("received %q after %s", got, time.Since(start))
		}
		time.Sleep(time.Minute)
		if code := b.do("DeleteMessage", map[string]any{"QueueUrl": "q.fifo", "ReceiptHandle": second.ReceiptHandle}, nil); code != "InvalidParameterValue;Sender" {
			b.Errorf("a receipt that has expired: %q", code)
		}
	})
}

func TestANewQueueSettles(t *testing.T) {
	inBubble(t, func(b bubble) {
		b.Settle(time.Second)
		b.create("q", map[string]string{"VisibilityTimeout": "60"})
		b.create("q", map[string]string{"VisibilityTimeout": "60"})
		in := map[string]any{"QueueUrl": "q", "MessageBody": "m"}
		if code := b.do("SendMessage", in, nil); code != "AWS.SimpleQueueService.NonExistentQueue;Sender" {
			b.Errorf("a new queue: %q", code)
		}
		time.Sleep(time.Second)
		if code := b.do("SendMessage", in, nil); code != "" {
			b.Errorf("a queue of a second: %q", code)
		}
	})
}

func TestWhatSQSRefuses(t *testing.T) {
	inBubble(t, func(b bubble) {
		b.create("q", map[string]string{"VisibilityTimeout": "60"})
		for _, tt := range []struct {
			operation, in, code string
		}{
			{"CreateQueue", `{"QueueName":"q","Attributes":{"VisibilityTimeout":"61"}}`, "QueueAlreadyExists"},
			{"CreateQueue", `{"QueueName":"a.b"}`, "InvalidParameterValue"},
			{"CreateQueue", `{"QueueName":"a.fifo"}`, "InvalidParameterValue"},
			{"CreateQueue", `{"QueueName":"a","Attributes":{"FifoQueue":"true"}}`, "InvalidParameterValue"},
			{"CreateQueue", `{"QueueName":"a","Attributes":{"MessageRetentionPeriod":"59"}}`, "InvalidParameterValue"},
			{"CreateQueue", `{"QueueName":"a","Attributes":{"Retention":"60"}}`, "InvalidAttributeName"},
			{"CreateQueue", `{"QueueName":"a","Attributes":{"RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:b\",\"maxReceiveCount\":1}"}}`, "InvalidParameterValue"},
			{"ReceiveMessage", `{"QueueUrl":"q","WaitTimeSeconds":21}`, "InvalidParameterValue"},
			{"ReceiveMessage", `{"QueueUrl":"q","MaxNumberOfMessages":11}`, "InvalidParameterValue"},
			{"ReceiveMessage", `{"QueueUrl":"nothing"}`, "AWS.SimpleQueueService.NonExistentQueue"},
			{"DeleteMessage", `{"QueueUrl":"q","ReceiptHandle":"x"}`, "ReceiptHandleIsInvalid"},
			{"ChangeMessageVisibility", `{"QueueUrl":"q","ReceiptHandle":"x/y"}`, "AWS.SimpleQueueService.MessageNotInflight"},
			{"SendMessage", `{"QueueUrl":"q","MessageBody":"m","MessageDeduplicationId":"d"}`, "InvalidParameterValue"},
			{"SendMessage", `{"QueueUrl":"q","MessageBody":"m","Surprise":1}`, "InvalidParameterValue"},
			{"StartMessageMoveTask", `{}`, "InvalidAction"},
		} {
			if code := b.do(tt.operation, json.RawMessage(tt.in), nil); code != tt.code+";Sender" {
				b.Errorf("%s %s: %q", tt.operation, tt.in, code)
			}
		}
	})
}

func TestWhatAFunctionDoesNotNameIsDeleted(t *testing.T) {
	inBubble(t, func(b bubble) {
		b.create("q", nil)
		for _, body := range []string{"good", "bad"} {
			b.send("q", body)
		}
		ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
		defer cancel()
		times := map[string]int{}
		err := b.Deliver(ctx, Delivery{Queue: "q", Concurrency: 1, ReportItemFailures: true, Again: 3 * time.Second}, func(_ context.Context, event []byte) ([]byte, error) {
			var in struct {
				Records []struct{ MessageID, Body string }
			}
			if err := json.Unmarshal(event, &in); err != nil {
				return nil, err
			}
			failures := []map[string]string{}
			for _, r := range in.Records {
				if times[r.Body]++; r.Body == "bad" {
					failures = append(failures, map[string]string{"itemIdentifier": r.MessageID})
				}
			}
			return json.Marshal(map[string]any{"batchItemFailures": failures})
		})
		if !errors.Is(err, context.DeadlineExceeded) || times["good"] != 1 || times["bad"] != 7 {
			b.Errorf("%v, %v", times, err)
		}
		refused := errors.New("refused")
		if err := b.Deliver(b.Context(), Delivery{Queue: "q", May: func() error { return refused }}, nil); !errors.Is(err, refused) {
			b.Errorf("an event source that may not: %v", err)
		}
	})
}
