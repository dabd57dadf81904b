package aws_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
)

// asFunction makes the test binary a Lambda program.
const asFunction = "VIRGA_TEST_AS_FUNCTION"

func TestMain(m *testing.M) {
	if os.Getenv(asFunction) != "" {
		aws.Serve(aws.HTTP(door, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			deadline, _ := r.Context().Deadline()
			fmt.Fprintf(w, "%s %s %s %d", aws.HandlerName(), aws.RequestID(r.Context()), r.RequestURI, deadline.UnixMilli())
		})))
	}
	os.Exit(m.Run())
}

func TestProgramAnswersLambda(t *testing.T) {
	deadline := time.Now().Add(time.Minute).UnixMilli()
	event := testdata(t, "http_front_door.json")
	answers := make(chan string, 1)
	invocations := make(chan struct{}, 1)
	invocations <- struct{}{}
	runtime := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/invocation/next") {
			select {
			case <-invocations:
			case <-r.Context().Done():
				return
			}
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", "request-1")
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(deadline))
			_, _ = w.Write(event)
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
		answers <- r.URL.Path + " " + string(body)
	}))
	defer runtime.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asFunction+"=1", "_HANDLER=putRoomKey", "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(runtime.URL, "http://"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	select {
	case got := <-answers:
		path, body, _ := strings.Cut(got, " ")
		var answer struct{ Body string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil || !strings.HasSuffix(path, "/invocation/request-1/response") {
			t.Fatalf("got %s, %v", got, err)
		}
		want := fmt.Sprintf("putRoomKey request-1 /_matrix/client/v3/room_keys/keys/!abc%%3Aexample.org/x%%2Fy?version=1&filter=a+b%%3F %d", deadline-300)
		if answer.Body != want {
			t.Errorf("got  %s\nwant %s", answer.Body, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no answer")
	}
}

// A function finds its stack by its environment, and servers that imitate AWS by
// AWS_ENDPOINT_URL.
func TestEnvironmentOfAFunction(t *testing.T) {
	t.Setenv(aws.StackEnv, "")
	if _, err := aws.FromEnvironment(); err == nil || !strings.Contains(err.Error(), aws.StackEnv) {
		t.Errorf("without a stack: %v", err)
	}
	queues := awstest.SQS(t)
	for name, value := range map[string]string{
		aws.StackEnv: awstest.Stack, aws.BucketEnv: awstest.Bucket, aws.QueueEnv(queue.Work): queues.URLs["work"],
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
		"AWS_ENDPOINT_URL_DYNAMODB": awstest.DynamoDB(t), "AWS_ENDPOINT_URL_S3": awstest.S3(t), "AWS_ENDPOINT_URL": queues.Endpoint,
	} {
		t.Setenv(name, value)
	}
	o, err := aws.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := aws.NewDB(o).Write(t.Context(), store.Put(store.Users, key, nil)); err != nil {
		t.Error(err)
	}
	if err := aws.NewBlobs(o).Put(t.Context(), "key", "text/plain", strings.NewReader("x"), 1); err != nil {
		t.Error(err)
	}
	sender := aws.NewSender(o)
	if err := sender.Send(t.Context(), queue.Work, queue.Message{Body: "x"}); err != nil {
		t.Error(err)
	}
	if err := sender.Send(t.Context(), queue.Inbound, queue.Message{Body: "x", Group: "g", Dedup: "d"}); err == nil {
		t.Error("sent to a queue that the function has not")
	}
}
