package aws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
)

// stackWorld is the AWS around a provider: CloudFormation, which tells the status of
// the stack and reads answers, S3, SQS and Lambda.
type stackWorld struct {
	t       *testing.T
	url     string
	objects *s3mem.Backend
	s3      http.Handler
	run     aws.Invocation
	log     bytes.Buffer

	mu      sync.Mutex
	status  string // of the stack
	queues  []string
	slow    time.Duration // of each delete
	answers []map[string]any
	runs    []string // events that the function sent itself
	asked   []string // operations on S3 and SQS
}

func newStackWorld(t *testing.T) *stackWorld {
	w := &stackWorld{t: t, status: "DELETE_IN_PROGRESS", objects: s3mem.New()}
	w.s3 = gofakes3.New(w.objects).Server()
	srv := httptest.NewServer(w)
	t.Cleanup(srv.Close)
	w.url = srv.URL
	if err := w.objects.CreateBucket(awstest.Bucket); err != nil {
		t.Fatal(err)
	}
	name := lambdacontext.FunctionName
	lambdacontext.FunctionName = "test_provider"
	t.Cleanup(func() { lambdacontext.FunctionName = name })
	w.run = aws.Provider(slog.New(slog.NewTextHandler(&w.log, nil)), awstest.Options(w.url))
	return w
}

func (w *stackWorld) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	switch target := r.Header.Get("X-Amz-Target"); {
	case r.URL.Path == "/answer":
		var a map[string]any
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
			w.t.Error(err)
		}
		w.mu.Lock()
		w.answers = append(w.answers, a)
		w.mu.Unlock()
	case strings.HasPrefix(r.URL.Path, "/2015-03-31/functions/"):
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/2015-03-31/functions/test_provider/invocations" || r.Header.Get("X-Amz-Invocation-Type") != "Event" ||
			!strings.Contains(r.Header.Get("Authorization"), "/us-east-1/lambda/") {
			w.t.Errorf("Lambda is asked %s with %v", r.URL.Path, r.Header)
		}
		w.mu.Lock()
		w.runs = append(w.runs, string(body))
		w.mu.Unlock()
		rw.WriteHeader(http.StatusAccepted)
	case target != "":
		w.serveQueues(rw, r, target)
	case r.URL.Path == "/" && r.Method == http.MethodPost:
		if err := r.ParseForm(); err != nil || r.Form.Get("Action") != "DescribeStacks" || r.Form.Get("StackName") != stackID {
			w.t.Errorf("CloudFormation is asked %v, %v", r.Form, err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		fmt.Fprintf(rw, `<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><DescribeStacksResult><Stacks><member><StackName>test</StackName><StackStatus>%s</StackStatus></member></Stacks></DescribeStacksResult></DescribeStacksResponse>`, w.status)
	default:
		w.mu.Lock()
		w.asked = append(w.asked, r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery)
		slow := w.slow
		w.mu.Unlock()
		if r.Method == http.MethodPost {
			select {
			case <-time.After(slow):
			case <-r.Context().Done():
			}
		}
		w.s3.ServeHTTP(rw, r)
	}
}

func (w *stackWorld) serveQueues(rw http.ResponseWriter, r *http.Request, target string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, target)
	var in struct {
		QueueNamePrefix, NextToken string
		QueueURL                   string `json:"QueueUrl"`
		MaxResults                 int
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.t.Error(err)
	}
	rw.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch target {
	case "AmazonSQS.ListQueues":
		// A page is short here, and begins after the last name.
		out := map[string]any{}
		var urls []string
		for _, name := range w.queues {
			if strings.HasPrefix(name, in.QueueNamePrefix) && name > in.NextToken {
				if len(urls) == 3 {
					out["NextToken"] = path.Base(urls[2])
					break
				}
				urls = append(urls, w.url+"/000000000000/"+name)
			}
		}
		out["QueueUrls"] = urls
		if in.MaxResults == 0 {
			w.t.Error("without MaxResults SQS tells no next page")
		}
		_ = json.NewEncoder(rw).Encode(out)
	case "AmazonSQS.DeleteQueue":
		i := slices.Index(w.queues, path.Base(in.QueueURL))
		if i < 0 {
			rw.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(rw, `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"gone"}`)
			return
		}
		w.queues = slices.Delete(w.queues, i, i+1)
		_, _ = io.WriteString(rw, "{}")
	default:
		w.t.Errorf("SQS is asked %s", target)
	}
}

const stackID = "arn:aws:cloudformation:us-east-1:123456789012:stack/test/3f2b"

// ask sends an event and returns the answer, if there is one.
func (w *stackWorld) ask(ctx context.Context, request, typ, id string, properties map[string]string) map[string]any {
	w.t.Helper()
	e := map[string]any{
		"RequestType": request, "ResponseURL": w.url + "/answer", "StackId": stackID, "RequestId": "r",
		"ResourceType": "Custom::Virga" + typ, "LogicalResourceId": typ, "ResourceProperties": properties,
	}
	if id != "" {
		e["PhysicalResourceId"] = id
	}
	event, err := json.Marshal(e)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.send(ctx, event)
}

func (w *stackWorld) send(ctx context.Context, event []byte) map[string]any {
	w.t.Helper()
	before := len(w.answers)
	if _, err := w.run(ctx, event); err != nil {
		w.t.Fatal(err)
	}
	if len(w.answers) == before {
		return nil
	}
	return w.answers[before]
}

func (w *stackWorld) must(a map[string]any) map[string]any {
	w.t.Helper()
	if a["Status"] != "SUCCESS" {
		w.t.Fatalf("answered %v", a)
	}
	data, _ := a["Data"].(map[string]any)
	return data
}

// fill puts objects of several versions, and delete markers, into the bucket.
func (w *stackWorld) fill(objects int) {
	w.t.Helper()
	if err := w.objects.SetVersioningConfiguration(awstest.Bucket, gofakes3.VersioningConfiguration{Status: gofakes3.VersioningEnabled}); err != nil {
		w.t.Fatal(err)
	}
	for i := range objects {
		key := fmt.Sprintf("media/%06d", i)
		for range 1 + i%2 {
			if _, err := w.objects.PutObject(awstest.Bucket, key, nil, strings.NewReader("x"), 1, nil); err != nil {
				w.t.Fatal(err)
			}
		}
		if i%3 == 0 {
			if _, err := w.objects.DeleteObject(awstest.Bucket, key); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// versions counts what CloudFormation would not delete the bucket for.
func (w *stackWorld) versions() int {
	w.t.Helper()
	cfg, _ := awstest.Config(w.url)()
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	out, err := client.ListObjectVersions(w.t.Context(), &s3.ListObjectVersionsInput{Bucket: sdk.String(awstest.Bucket)})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(out.Versions) + len(out.DeleteMarkers)
}

func TestTheDoorsSecretIsRandomAndKept(t *testing.T) {
	w := newStackWorld(t)
	key := w.must(w.ask(t.Context(), "Create", "Key", "", map[string]string{}))["Key"].(string)
	other := w.must(w.ask(t.Context(), "Create", "Key", "", map[string]string{}))["Key"].(string)
	if len(key) != 64 || key == other {
		t.Fatalf("keys %q and %q", key, other)
	}
	secrets := func(request, key, generation string) (secret string, accepted []string) {
		d := w.must(w.ask(t.Context(), request, "Secret", "", map[string]string{"Key": key, "Generation": generation}))
		return d["Secret"].(string), strings.Split(d["Accepted"].(string), ",")
	}
	first, accepted := secrets("Create", key, "1")
	if len(first) != 64 || !slices.Contains(accepted, first) || strings.Contains(first, key) {
		t.Errorf("secret %q, accepted %q", first, accepted)
	}
	if again, _ := secrets("Update", key, "1"); again != first {
		t.Error("an update that changes nothing changes the secret")
	}
	if foreign, _ := secrets("Create", other, "1"); foreign == first {
		t.Error("another stack has the same secret")
	}
	for _, answer := range w.answers {
		if answer["NoEcho"] != true {
			t.Errorf("CloudFormation would show %v", answer["LogicalResourceId"])
		}
		if id := answer["PhysicalResourceId"].(string); strings.Contains(id, first) || strings.Contains(id, key) {
			t.Errorf("the id %s is shown", id)
		}
	}
	for _, secret := range append(accepted, key) {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("the log holds a secret: %s", w.log.String())
		}
	}
	for _, bad := range []map[string]string{{}, {"Key": "no key", "Generation": "1"}, {"Key": key}, {"Key": key, "Generation": "0"}, {"Key": key, "Generation": "two"}} {
		a := w.ask(t.Context(), "Create", "Secret", "", bad)
		if reason, _ := a["Reason"].(string); a["Status"] != "FAILED" || strings.Contains(reason, "no key\"") {
			t.Errorf("%v: %v", bad, a)
		}
	}
}

// A deploy with the next generation reaches the door minutes before the
// functions, one that fails goes back in any order, and nobody is refused.
func TestTheSecretChangesWhileTheServerIsUsed(t *testing.T) {
	w := newStackWorld(t)
	key := w.must(w.ask(t.Context(), "Create", "Key", "", map[string]string{}))["Key"].(string)
	type generation struct {
		sent     string
		accepted aws.Door
	}
	var all []generation
	for n := 1; n <= 5; n++ {
		d := w.must(w.ask(t.Context(), "Update", "Secret", "test_Secret", map[string]string{"Key": key, "Generation": fmt.Sprint(n)}))
		all = append(all, generation{d["Secret"].(string), aws.Door{Accepted: strings.Split(d["Accepted"].(string), ",")}})
		if w.answers[len(w.answers)-1]["PhysicalResourceId"] != "test_Secret" {
			t.Error("another generation is another resource, and what depends on it would be replaced")
		}
	}
	for door := range all {
		for function := range all {
			a := invoke(t, all[function].accepted, sending(t, all[door].sent), func(http.ResponseWriter, *http.Request) {})
			apart := max(door-function, function-door)
			if (a.StatusCode == http.StatusOK) != (apart <= 1) {
				t.Errorf("a door of generation %d and a function of %d: status %d", door+1, function+1, a.StatusCode)
			}
		}
	}
}

func TestAStackThatGoesLeavesNothing(t *testing.T) {
	w := newStackWorld(t)
	w.fill(2500)
	for i := range 10 {
		w.queues = append(w.queues, fmt.Sprintf("test_wait_%02da", i))
	}
	w.queues = append(w.queues, "test_work", "test-other_wait_a", "testing_wait_a")
	slices.Sort(w.queues)
	if w.versions() != 1000 { // as many as one page holds
		t.Fatalf("%d versions", w.versions())
	}
	w.must(w.ask(t.Context(), "Delete", "Remains", "test_Remains", map[string]string{"EmptyBucket": awstest.Bucket, "Queues": "test_wait_"}))
	if n := w.versions(); n != 0 {
		t.Errorf("%d versions are left", n)
	}
	if want := []string{"test-other_wait_a", "test_work", "testing_wait_a"}; !slices.Equal(w.queues, want) {
		t.Errorf("the queues are %v, want %v", w.queues, want)
	}
	// And once more, as Lambda and CloudFormation do.
	w.must(w.ask(t.Context(), "Delete", "Remains", "test_Remains", map[string]string{"EmptyBucket": awstest.Bucket, "Queues": "test_wait_"}))
	w.must(w.ask(t.Context(), "Delete", "Remains", "test_Remains", map[string]string{"EmptyBucket": "no-such-bucket", "Queues": "test_wait_"}))
	w.queues = append(w.queues, "another_wait_a")
	if a := w.ask(t.Context(), "Delete", "Remains", "test_Remains", map[string]string{"Queues": "another_wait_"}); a["Status"] != "FAILED" || len(w.queues) != 4 {
		t.Errorf("queues of another stack: %v", a)
	}
}

func TestAStackThatStaysLosesNothing(t *testing.T) {
	w := newStackWorld(t)
	w.fill(3)
	before := w.versions()
	w.queues = []string{"test_wait_xa"}
	properties := map[string]string{"EmptyBucket": awstest.Bucket, "Queues": "test_wait_"}
	for _, status := range []string{"UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_IN_PROGRESS", "CREATE_COMPLETE"} {
		w.status = status
		w.must(w.ask(t.Context(), "Delete", "Remains", "test_Remains", properties))
	}
	w.status = "" // CloudFormation does not know
	if a := w.ask(t.Context(), "Delete", "Remains", "test_Remains", properties); a["Status"] != "FAILED" {
		t.Errorf("answered %v", a)
	}
	w.status = "DELETE_IN_PROGRESS"
	w.must(w.ask(t.Context(), "Delete", "Remains", "test_Remains_old", properties)) // that was replaced
	w.must(w.ask(t.Context(), "Delete", "Key", "test_Key", properties))
	w.must(w.ask(t.Context(), "Delete", "Secret", "test_Secret", map[string]string{}))
	w.must(w.ask(t.Context(), "Delete", "Unknown", "never made", map[string]string{}))
	w.must(w.ask(t.Context(), "Update", "Remains", "test_Remains", properties))
	if w.versions() != before || len(w.queues) != 1 {
		t.Errorf("%d of %d versions and the queues %v are left", w.versions(), before, w.queues)
	}
	// In prod there is a bucket that is not named.
	w.must(w.ask(t.Context(), "Delete", "Remains", "test_Remains", map[string]string{"Queues": "test_wait_"}))
	if w.versions() != before || len(w.queues) != 0 {
		t.Errorf("%d of %d versions and the queues %v are left", w.versions(), before, w.queues)
	}
	for _, request := range []string{"Create", "Update", "Upsert"} {
		if a := w.ask(t.Context(), request, "Unknown", "", map[string]string{}); a["Status"] != "FAILED" {
			t.Errorf("%s of an unknown type: %v", request, a)
		}
	}
}

// A key that is asked for once more is another resource, and CloudFormation
// deletes the old one.
func TestAnUpdatedKeyReplacesTheOldOne(t *testing.T) {
	w := newStackWorld(t)
	w.must(w.ask(t.Context(), "Create", "Key", "", map[string]string{}))
	w.must(w.ask(t.Context(), "Update", "Key", "test_Key", map[string]string{}))
	if a, b := w.answers[0], w.answers[1]; a["PhysicalResourceId"] != "test_Key" || b["PhysicalResourceId"] == "test_Key" || a["Data"].(map[string]any)["Key"] == b["Data"].(map[string]any)["Key"] {
		t.Errorf("answered %v and %v", a, b)
	}
}

// The function has two minutes. What it does not delete in them it leaves to its
// next run, and only the last one answers.
func TestALargeBucketIsEmptiedInSeveralRuns(t *testing.T) {
	w := newStackWorld(t)
	const objects = 9000
	w.fill(objects)
	w.slow = 100 * time.Millisecond // for a thousand
	event := func() []byte {
		// The margin is kept for the answer, so this leaves a fifth of a second.
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second+200*time.Millisecond)
		defer cancel()
		a := w.ask(ctx, "Delete", "Remains", "test_Remains", map[string]string{"EmptyBucket": awstest.Bucket, "Queues": "test_wait_"})
		if a != nil || len(w.runs) != 1 || w.versions() == 0 {
			t.Fatalf("the first run answered %v, and left %d versions", a, w.versions())
		}
		return []byte(w.runs[0])
	}()
	w.slow = 0
	if w.must(w.send(t.Context(), event)); w.versions() != 0 || len(w.answers) != 1 {
		t.Errorf("%d versions are left, %d answers", w.versions(), len(w.answers))
	}
}

// A hundred thousand objects are a hundred listings and as many deletes.
func TestAHundredThousandObjectsAreFewRequests(t *testing.T) {
	w := newStackWorld(t)
	b := &countedBucket{left: 100_000}
	w.s3 = b
	start := time.Now()
	w.must(w.ask(t.Context(), "Delete", "Remains", "test_Remains", map[string]string{"EmptyBucket": awstest.Bucket}))
	if b.left != 0 || len(w.asked) > 203 {
		t.Errorf("%d objects are left after %d requests", b.left, len(w.asked))
	}
	t.Logf("100,000 objects were deleted by %d requests, in %s here", len(w.asked), time.Since(start).Round(time.Millisecond))
}

// countedBucket is a bucket of so many objects, which it lists a thousand at a
// time and deletes as it is told.
type countedBucket struct {
	mu   sync.Mutex
	left int
}

func (b *countedBucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	w.Header().Set("Content-Type", "application/xml")
	if r.Method == http.MethodPost {
		n := bytes.Count(body, []byte("<VersionId>"))
		if n > 1000 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		b.left -= n
		_, _ = io.WriteString(w, "<DeleteResult></DeleteResult>")
		return
	}
	from := 0
	_, _ = fmt.Sscanf(r.URL.Query().Get("key-marker"), "%d", &from)
	last := 100_000
	if b.left == 0 {
		last = from
	}
	to := min(from+1000, last)
	fmt.Fprintf(w, "<ListVersionsResult><IsTruncated>%t</IsTruncated><NextKeyMarker>%d</NextKeyMarker>", to < last, to)
	for i := from; i < to; i++ {
		fmt.Fprintf(w, "<Version><Key>%d</Key><VersionId>v%d</VersionId></Version>", i, i)
	}
	_, _ = io.WriteString(w, "</ListVersionsResult>")
}

func TestAnObjectThatStaysIsTold(t *testing.T) {
	w := newStackWorld(t)
	w.s3 = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = io.WriteString(rw, "<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>")
			return
		}
		_, _ = io.WriteString(rw, "<ListVersionsResult><Version><Key>k</Key><VersionId>v</VersionId></Version></ListVersionsResult>")
	})
	a := w.ask(t.Context(), "Delete", "Remains", "test_Remains", map[string]string{"EmptyBucket": awstest.Bucket})
	if reason, _ := a["Reason"].(string); a["Status"] != "FAILED" || !strings.Contains(reason, "AccessDenied") {
		t.Errorf("answered %v", a)
	}
}
