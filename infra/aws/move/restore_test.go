package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// control answers as CloudFormation, Lambda and SQS do about a stack.
type control struct {
	mu        sync.Mutex
	functions map[string]*function
	triggers  map[string]string // id → state
	queue     string
	busy      int // how many requests are refused before
}

type function struct {
	about   string
	stopped bool
	changes int
}

func (c *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if c.busy > 0 && len(parts) == 4 {
		c.busy--
		w.Header().Set("X-Amzn-Errortype", "TooManyRequestsException")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"message":"Rate exceeded"}`)
		return
	}
	if len(parts) > 1 && parts[1] == "event-source-mappings" {
		c.trigger(w, r, parts[len(parts)-1], body)
		return
	}
	switch f := c.functions[parts[max(0, len(parts)-2)]]; {
	case r.Header.Get("X-Amz-Target") == "AmazonSQS.GetQueueUrl":
		fmt.Fprintf(w, `{"QueueUrl":%q}`, c.queue)
	case r.Header.Get("Content-Type") == "application/x-www-form-urlencoded":
		q, _ := url.ParseQuery(string(body))
		if q.Get("StackName") != awstest.Stack {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `<ErrorResponse><Error><Code>ValidationError</Code><Message>Stack with id x does not exist</Message></Error></ErrorResponse>`)
			return
		}
		fmt.Fprintf(w, `<DescribeStacksResponse><DescribeStacksResult><Stacks><member><Tags><member><Key>server</Key><Value>example.org</Value></member></Tags>
<Outputs><member><OutputKey>MediaBucketName</OutputKey><OutputValue>%s</OutputValue></member></Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>`, awstest.Bucket)
	case parts[len(parts)-1] == "functions":
		// Two pages, as of a stack with more than fifty functions.
		var answer struct {
			Functions  []map[string]any
			NextMarker string
		}
		for name, f := range c.functions {
			if (name < awstest.Stack+"_m") == (r.URL.Query().Get("Marker") == "") {
				answer.Functions = append(answer.Functions, map[string]any{"FunctionName": name, "Description": f.about, "Timeout": 0})
			}
		}
		if r.URL.Query().Get("Marker") == "" {
			answer.NextMarker = "more"
		}
		_ = json.NewEncoder(w).Encode(answer)
	case f == nil:
		w.WriteHeader(http.StatusNotFound)
	case parts[len(parts)-1] == "configuration":
		var said struct{ Description string }
		_ = json.Unmarshal(body, &said)
		f.about, f.changes = said.Description, f.changes+1
		_, _ = w.Write(body)
	case r.Method == http.MethodGet && f.stopped:
		_, _ = io.WriteString(w, `{"ReservedConcurrentExecutions":0}`)
	case r.Method == http.MethodGet:
		_, _ = io.WriteString(w, `{}`)
	case r.Method == http.MethodPut:
		f.stopped = strings.Contains(string(body), `"ReservedConcurrentExecutions":0`)
		_, _ = w.Write(body)
	case r.Method == http.MethodDelete:
		f.stopped = false
		w.WriteHeader(http.StatusNoContent)
	}
}

// trigger answers about event source mappings. A change takes until the next look.
func (c *control) trigger(w http.ResponseWriter, r *http.Request, id string, body []byte) {
	if r.Method == http.MethodPut {
		c.triggers[id] = "Enabling"
		if strings.Contains(string(body), "false") {
			c.triggers[id] = "Disabling"
		}
		_, _ = w.Write(body)
		return
	}
	var answer struct{ EventSourceMappings []map[string]string }
	for id, state := range c.triggers {
		answer.EventSourceMappings = append(answer.EventSourceMappings, map[string]string{
			"UUID": id, "State": state, "FunctionArn": "arn:aws:lambda:us-east-1:1:function:" + id,
		})
		switch state {
		case "Enabling":
			c.triggers[id] = "Enabled"
		case "Disabling":
			c.triggers[id] = "Disabled"
		}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (c *control) are(t *testing.T, want string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, state := range c.triggers {
		if w := want; strings.HasPrefix(id, awstest.Stack+"_") && state != w || !strings.HasPrefix(id, awstest.Stack+"_") && state != "Enabled" {
			t.Errorf("the trigger %s is %s, want %s", id, state, want)
		}
	}
}

func (c *control) stopped() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, f := range c.functions {
		if f.stopped {
			names = append(names, name)
		}
	}
	return names
}

// The whole way back to an earlier time, as README.md has it.
func TestAStackIsPutBack(t *testing.T) {
	environment(t)
	queues := awstest.SQS(t)
	c := &control{functions: map[string]*function{}, queue: queues.URLs[queue.Work.Name]}
	for _, name := range []string{"sync", "sendMessage", "dispatch", "login", "zzz"} {
		c.functions[awstest.Stack+"_"+name] = &function{about: "answers " + name + strings.Repeat(" and more", 30)}
	}
	c.functions[awstest.Stack+"-other_sync"] = &function{}
	c.triggers = map[string]string{awstest.Stack + "_dispatch": "Enabled", awstest.Stack + "_work": "Enabled", awstest.Stack + "-other_work": "Enabled"}
	lookEvery = time.Millisecond
	srv := httptest.NewServer(c)
	defer srv.Close()
	tables := awstest.DynamoDB(t)
	t.Setenv("AWS_ENDPOINT_URL", srv.URL)
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", tables)
	t.Setenv("AWS_ENDPOINT_URL_S3", awstest.S3(t))

	db := aws.NewDB(awstest.Options(tables))
	people := accounts.New(accounts.Options{
		DB: db, Log: &userlog.Service{DB: db, Clock: clock.System{}, Waker: aws.HoldInLambda(clock.System{})},
		ServerName: "example.org", Registration: accounts.RegistrationOpen, PasswordCost: "min", NoLimits: true,
	})
	alice, err := people.CreateAccount(t.Context(), "alice", "sesame", nil, true)
	if err != nil {
		t.Fatal(err)
	}
	key := store.Key{Part: userlog.Part(alice), Sort: "AD##org.example"}
	data := func(value string) {
		t.Helper()
		if _, err := db.Write(t.Context(), store.Put(store.Users, key, store.Attrs{"is": value})); err != nil {
			t.Fatal(err)
		}
	}
	is := func(want string) {
		t.Helper()
		it, err := db.Get(t.Context(), store.Ref{Table: store.Users, Key: key}, store.Consistent)
		if err != nil || it.Str("is") != want {
			t.Errorf("%q, %v; want %q", it.Str("is"), err, want)
		}
	}
	data("then")
	awstest.CopyTables(t, tables, awstest.Stack, "copy")
	data("since")
	do := func(want string, args ...string) {
		t.Helper()
		err := run(t.Context(), args)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
	back := []string{"restore", "-stack", awstest.Stack, "-from", "copy"}

	do("", append(back, "-dry-run")...)
	do("must be closed first", back...)
	is("since")
	c.busy = 3 // as Lambda is when it is asked too often
	do("", "close", "-stack", awstest.Stack)
	if got := c.stopped(); len(got) != 5 {
		t.Errorf("closed are %q", got)
	}
	c.are(t, "Disabled")
	do("", back...)
	is("then")
	do("", "open", "-stack", awstest.Stack)
	c.are(t, "Enabled")
	if got := c.stopped(); len(got) != 0 {
		t.Errorf("closed are %q", got)
	}
	do("", "open", "-stack", awstest.Stack)
	for name, f := range c.functions {
		want := 2 // so that its processes are new
		if name == awstest.Stack+"-other_sync" {
			want = 0
		}
		if f.changes != want || len(f.about) > maxDescription || strings.Count(f.about, "opened") > 1 {
			t.Errorf("%s was changed %d times: %s", name, f.changes, f.about)
		}
	}

	// What did not end must not be opened.
	if _, err := db.Write(t.Context(), store.Put(store.Server, store.Key{Part: "IMPORT", Sort: "FILE"}, store.Attrs{"id": "copy"})); err != nil {
		t.Fatal(err)
	}
	do("did not end (copy)", "open", "-stack", awstest.Stack)
	do("", "close", "-stack", awstest.Stack)
	do("", back...)
	do("", "open", "-stack", awstest.Stack)

	// The copies can be taken out as well, and what is asked of a stack need not be said.
	do("", "export", "-stack", awstest.Stack, "-from", "copy", filepath.Join(t.TempDir(), "file"))
	do("-server-name says", "export", "-stack", "nosuch", filepath.Join(t.TempDir(), "file"))
	do("no functions of a stack nosuch", "close", "-stack", "nosuch")
	for want, args := range map[string][]string{
		"say what to do":       {"reopen"},
		"-stack says":          {"close"},
		"has flags only":       {"open", "-stack", "a", "file"},
		"-from names":          {"restore", "-stack", "a"},
		"names the copies":     {"restore", "-stack", "a", "-from", "a"},
		"has no flag -log-out": {"export", "-stack", "a", "-log-out", "file"},
		"which file":           {"import", "-stack", "a"},
	} {
		do(want, args...)
	}
}
