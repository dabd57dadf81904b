package services

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/blob"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/tests/rehearsal/iam"
	"github.com/virga-im/virga/tests/rehearsal/template"
)

const account = "123456789012"

func arn(service, resource string) string {
	return "arn:aws:" + service + ":us-east-1:" + account + ":" + resource
}

// small is a stack in CloudFormation's words: two tables, a queue with dead
// letters, a bucket, and a role that may do a part of everything.
func small(t *testing.T) *template.Template {
	t.Helper()
	tm := &template.Template{Stack: "a", Pseudo: map[string]string{
		"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": account, "AWS::URLSuffix": "amazonaws.com",
	}}
	table := func(name, more string) string {
		return `{"Type":"AWS::DynamoDB::Table","Properties":{"TableName":"a_` + name + `","BillingMode":"PAY_PER_REQUEST",
			"AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"},{"AttributeName":"s","AttributeType":"S"}],
			"KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"s","KeyType":"RANGE"}],
			"TimeToLiveSpecification":{"AttributeName":"ttl","Enabled":true}` + more + `}}`
	}
	if err := json.Unmarshal([]byte(`{
		"Rooms":`+table("rooms", `,"StreamSpecification":{"StreamViewType":"KEYS_ONLY"}`)+`,
		"Users":`+table("users", "")+`,
		"Bucket":{"Type":"AWS::S3::Bucket","Properties":{"VersioningConfiguration":{"Status":"Suspended"}}},
		"Work":{"Type":"AWS::SQS::Queue","Properties":{"QueueName":"a_work","VisibilityTimeout":720,"SqsManagedSseEnabled":true,
			"RedrivePolicy":{"deadLetterTargetArn":{"Fn::GetAtt":["Dead","Arn"]},"maxReceiveCount":5}}},
		"Dead":{"Type":"AWS::SQS::Queue","Properties":{"QueueName":"a_work_dead"}},
		"Role":{"Type":"AWS::IAM::Role","Properties":{
			"AssumeRolePolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"lambda.amazonaws.com"}}]},
			"Policies":[{"PolicyName":"uses","PolicyDocument":{"Version":"2012-10-17","Statement":[
				{"Effect":"Allow","Action":["dynamodb:BatchGetItem","dynamodb:GetItem","dynamodb:Query"],"Resource":[{"Fn::GetAtt":["Rooms","Arn"]},{"Fn::GetAtt":["Users","Arn"]}]},
				{"Effect":"Allow","Action":["dynamodb:ConditionCheckItem","dynamodb:DeleteItem","dynamodb:PutItem","dynamodb:UpdateItem"],"Resource":[{"Fn::GetAtt":["Rooms","Arn"]}]},
				{"Effect":"Allow","Action":["sqs:SendMessage"],"Resource":[{"Fn::GetAtt":["Work","Arn"]}]},
				{"Effect":"Allow","Action":["sqs:CreateQueue"],"Resource":["`+arn("sqs", "a_wait_*")+`"]},
				{"Effect":"Allow","Action":["s3:GetObject"],"Resource":[{"Fn::Join":["",[{"Fn::GetAtt":["Bucket","Arn"]},"/local/*"]]}]},
				{"Effect":"Allow","Action":["s3:ListBucket"],"Resource":[{"Fn::GetAtt":["Bucket","Arn"]}],"Condition":{"StringLikeIfExists":{"s3:prefix":["local/*"]}}},
				{"Effect":"Allow","Action":["s3:DeleteObject","s3:PutObject"],"Resource":[{"Fn::Join":["",[{"Fn::GetAtt":["Bucket","Arn"]},"/local/*"]]}]}
			]}}]}}
	}`), &tm.Resources); err != nil {
		t.Fatal(err)
	}
	return tm
}

const (
	bucket = "a-bucket-1a2b3c4d5e6f"
	role   = "arn:aws:iam::" + account + ":role/a-Role-1A2B3C4D5E6F"
)

type world struct {
	*testing.T
	*Services
	mu      sync.Mutex
	changes []Change
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{T: t}
	w.Services = Start(t, Options{Template: small(t), OnWrite: func(c Change) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changes = append(w.changes, c)
	}})
	return w
}

// config is the SDK's for these credentials.
func (w *world) config(c Credentials) sdk.Config {
	return sdk.Config{
		Region: "us-east-1", BaseEndpoint: &w.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
		Retryer: func() sdk.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Millisecond })
		},
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

func (w *world) function() sdk.Config {
	w.Helper()
	c, err := w.Assume(role, "lambda.amazonaws.com", "a_sync")
	if err != nil {
		w.Fatal(err)
	}
	return w.config(c)
}

// options are those of shared/aws for a function.
func (w *world) options() aws.Options {
	cfg := w.function()
	return aws.Options{Stack: "a", Bucket: bucket, Config: func() (sdk.Config, error) { return cfg, nil },
		Queues: map[string]string{"work": w.Queues.URL("a_work"), "inbound": w.Queues.URL("a_inbound.fifo")}}
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

// hits returns what was allowed, as action and the end of the resource.
func (w *world) hits() (all []string) {
	for _, u := range w.Ledger.Uses() {
		if u.Hits > 0 {
			all = append(all, fmt.Sprintf("%s %s %d", u.Action, u.Resource[strings.LastIndexAny(u.Resource, ":/")+1:], u.Hits))
		}
	}
	slices.Sort(all)
	return all
}

func (w *world) expect(hits ...string) {
	w.Helper()
	if got := w.hits(); !slices.Equal(got, hits) {
		w.Errorf("hits:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(hits, "\n"))
	}
}

func TestTheStoreNeedsWhatItDoes(t *testing.T) {
	w := start(t)
	db := aws.NewDB(w.options())
	ctx := t.Context()
	key := func(s string) store.Key { return store.Key{Part: "R#!a", Sort: s} }
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	_, err := db.Write(ctx, store.Put(store.Rooms, key("1"), store.Attrs{"n": int64(1)}))
	do(err)
	_, err = db.Write(ctx, store.Write{Table: store.Rooms, Key: key("1"), Op: store.OpUpdate, AddAttrs: map[string]int64{"n": 1}})
	do(err)
	_, err = db.Write(ctx, store.Write{Table: store.Rooms, Key: key("1"), Op: store.OpDelete})
	do(err)
	do(db.Transact(ctx, store.Put(store.Rooms, key("2"), nil), store.Write{Table: store.Rooms, Key: key("3"), Op: store.OpCheck}))
	_, err = db.Get(ctx, store.Ref{Table: store.Users, Key: key("1")}, store.Consistent)
	if !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	_, err = db.BatchGet(ctx, []store.Ref{{Table: store.Rooms, Key: key("1")}, {Table: store.Users, Key: key("1")}}, store.Consistent)
	do(err)
	_, err = db.Query(ctx, store.Query{Table: store.Rooms, Part: "R#!a"})
	do(err)
	w.expect("dynamodb:BatchGetItem a_rooms 1", "dynamodb:BatchGetItem a_users 1", "dynamodb:ConditionCheckItem a_rooms 1", "dynamodb:DeleteItem a_rooms 1",
		"dynamodb:GetItem a_users 1", "dynamodb:PutItem a_rooms 2", "dynamodb:Query a_rooms 1", "dynamodb:UpdateItem a_rooms 1")
	if d := w.Ledger.Denials(); len(d) != 0 {
		t.Errorf("denied: %v", d)
	}
	var told []string
	for _, c := range w.changes {
		told = append(told, fmt.Sprintf("%s %s %s %v", c.Table, c.Keys["p"], c.Keys["s"], c.Removed))
		if !strings.HasPrefix(c.Stream, arn("dynamodb", "table/a_rooms/stream/")) {
			t.Errorf("the stream %s", c.Stream)
		}
	}
	if want := []string{
		`a_rooms {"S":"R#!a"} {"S":"1"} false`, `a_rooms {"S":"R#!a"} {"S":"1"} false`, `a_rooms {"S":"R#!a"} {"S":"1"} true`, `a_rooms {"S":"R#!a"} {"S":"2"} false`,
	}; !slices.Equal(told, want) {
		t.Errorf("changes: %q", told)
	}
	calls := w.Calls()
	if n := calls[Call{"dynamodb", "TransactWriteItems", "Role", "a_sync"}]; n != 1 {
		t.Errorf("calls: %v", calls)
	}
}

func TestRootIsNotCountedAndMayBeUnseen(t *testing.T) {
	w := start(t)
	for i, c := range []Credentials{w.Root(), w.Unseen()} {
		db := aws.NewDB(aws.Options{Stack: "a", Config: func() (sdk.Config, error) { return w.config(c), nil }})
		if _, err := db.Write(t.Context(), store.Put(store.Rooms, store.Key{Part: "R#!a", Sort: fmt.Sprint(i)}, nil)); err != nil {
			t.Error(err)
		}
	}
	w.expect()
	if len(w.changes) != 1 || string(w.changes[0].Keys["s"]) != `{"S":"0"}` || len(w.Calls()) != 0 {
		t.Errorf("changes %v, calls %v", w.changes, w.Calls())
	}
}

func TestWhatNoStatementAllowsIsDenied(t *testing.T) {
	w := start(t)
	db := aws.NewDB(w.options())
	ctx := t.Context()
	key := store.Key{Part: "U#@a", Sort: "1"}
	_, err := db.Write(ctx, store.Put(store.Users, key, nil))
	want := "User: arn:aws:sts::" + account + ":assumed-role/a-Role-1A2B3C4D5E6F/a_sync is not authorized to perform: dynamodb:PutItem on resource: " +
		arn("dynamodb", "table/a_users") + " because no identity-based policy allows the dynamodb:PutItem action"
	if code(err) != "AccessDeniedException" || !strings.Contains(err.Error(), want) {
		t.Errorf("a write: %v", err)
	}
	if err := db.Transact(ctx, store.Put(store.Rooms, key, nil), store.Put(store.Users, key, nil)); code(err) != "AccessDeniedException" {
		t.Errorf("a transaction: %v", err)
	}
	if _, err := db.Get(ctx, store.Ref{Table: store.Rooms, Key: key}, store.Consistent); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a part of a transaction that was denied is done: %v", err)
	}
	client := dynamodb.NewFromConfig(w.function())
	if _, err := client.Scan(ctx, &dynamodb.ScanInput{TableName: sdk.String("a_rooms")}); code(err) != "AccessDeniedException" {
		t.Errorf("a scan: %v", err)
	}
	if _, err := client.ListTables(ctx, &dynamodb.ListTablesInput{}); code(err) != "AccessDeniedException" {
		t.Errorf("an operation that is not known: %v", err)
	}
	if n := len(w.Ledger.Denials()); n != 4 || len(w.changes) != 0 {
		t.Errorf("%d denials, changes %v", n, w.changes)
	}
}

func TestObjectsNeedWhatTheyAre(t *testing.T) {
	w := start(t)
	blobs := aws.NewBlobs(w.options())
	ctx := t.Context()
	content := strings.Repeat("x", 100_000)
	if err := blobs.Put(ctx, "local/a/b.png", "image/png", strings.NewReader(content), -1); err != nil {
		t.Fatal(err)
	}
	r, meta, err := blobs.Get(ctx, "local/a/b.png")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != content || meta.ContentType != "image/png" {
		t.Errorf("%d bytes of %s, %v", len(got), meta.ContentType, err)
	}
	if _, err := blobs.Stat(ctx, "local/none"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
	if list, err := blobs.List(ctx, "local/", "", 10); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if err := blobs.Delete(ctx, "local/a/b.png"); err != nil {
		t.Error(err)
	}
	w.expect("s3:DeleteObject * 1", "s3:GetObject * 2", "s3:ListBucket a-bucket-1a2b3c4d5e6f 2", "s3:PutObject * 1")
	if err := blobs.Put(ctx, "remote/a", "image/png", strings.NewReader("x"), 1); code(err) != "AccessDenied" || !strings.Contains(err.Error(), "s3:PutObject on resource: arn:aws:s3:::"+bucket+"/remote/a") {
		t.Errorf("a key that is not granted: %v", err)
	}
	if _, err := blobs.List(ctx, "", "", 10); code(err) != "AccessDenied" {
		t.Errorf("a prefix that is not granted: %v", err)
	}
	if _, err := blobs.Stat(ctx, "remote/a"); err == nil || errors.Is(err, blob.ErrNotFound) {
		t.Errorf("a key that is not granted: %v", err)
	}
	client := s3.NewFromConfig(w.function(), func(o *s3.Options) { o.UsePathStyle = true })
	for what, do := range map[string]func() error{
		"versions": func() error {
			_, err := client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: sdk.String(bucket)})
			return err
		},
		"a policy": func() error {
			_, err := client.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: sdk.String(bucket)})
			return err
		},
		"another bucket": func() error {
			_, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: sdk.String("b")})
			return err
		},
		"deletions": func() error {
			_, err := client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: sdk.String(bucket), Delete: &s3types.Delete{Objects: []s3types.ObjectIdentifier{
				{Key: sdk.String("local/a")}, {Key: sdk.String("remote/a")},
			}}})
			return err
		},
	} {
		if err := do(); code(err) != "AccessDenied" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Without the right to list, S3 does not tell that an object is missing.
func TestWhoMayNotListIsNotToldWhatIsMissing(t *testing.T) {
	tm := small(t)
	statements := tm.Resources["Role"].Properties["Policies"].([]any)[0].(map[string]any)["PolicyDocument"].(map[string]any)
	statements["Statement"] = slices.DeleteFunc(statements["Statement"].([]any), func(st any) bool {
		return slices.Contains(st.(map[string]any)["Action"].([]any), any("s3:ListBucket"))
	})
	w := &world{T: t, Services: Start(t, Options{Template: tm})}
	if _, _, err := aws.NewBlobs(w.options()).Get(t.Context(), "local/none"); code(err) != "AccessDenied" || !strings.Contains(err.Error(), "s3:ListBucket") {
		t.Errorf("what is not there: %v", err)
	}
}

func TestABucketCanBeEmptied(t *testing.T) {
	w := start(t)
	ctx := t.Context()
	root := w.config(w.Root())
	client := s3.NewFromConfig(root, func(o *s3.Options) { o.UsePathStyle = true })
	for _, key := range []string{"local/1", "local/2 +%&é"} {
		if _, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: sdk.String(bucket), Key: &key, Body: strings.NewReader("x")}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: sdk.String(bucket)})
	if err != nil || len(list.Versions) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	var objects []s3types.ObjectIdentifier
	for _, v := range list.Versions {
		objects = append(objects, s3types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
	}
	out, err := client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: sdk.String(bucket), Delete: &s3types.Delete{Objects: objects}})
	if err != nil || len(out.Errors) != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	left, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: sdk.String(bucket)})
	if err != nil || len(left.Contents) != 0 {
		t.Errorf("left: %+v, %v", left.Contents, err)
	}
	w.expect() // what a test does itself is not counted
}

func TestQueuesAreThoseOfTheTemplate(t *testing.T) {
	w := start(t)
	ctx := t.Context()
	if names := w.Queues.Names(""); !slices.Equal(names, []string{"a_work", "a_work_dead"}) {
		t.Errorf("the queues are %v", names)
	}
	attributes, err := w.Queues.Attributes("a_work")
	if err != nil || attributes["VisibilityTimeout"] != "720" || !strings.Contains(attributes["RedrivePolicy"], arn("sqs", "a_work_dead")) {
		t.Errorf("the queue of work: %v, %v", attributes, err)
	}
	sender := aws.NewSender(w.options())
	if err := sender.Send(ctx, queue.Work, queue.Message{Body: "x"}); err != nil {
		t.Error(err)
	}
	err = sender.Send(ctx, queue.Inbound, queue.Message{Body: "x", Group: "g", Dedup: "d"})
	if code(err) != "AccessDenied" || !strings.Contains(err.Error(), "sqs:SendMessage on resource: "+arn("sqs", "a_inbound.fifo")) {
		t.Errorf("a queue that is not granted: %v", err)
	}
	client := sqs.NewFromConfig(w.function())
	made, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: sdk.String("a_wait_1")})
	if err != nil || *made.QueueUrl != "https://sqs.us-east-1.amazonaws.com/"+account+"/a_wait_1" {
		t.Errorf("a new queue: %+v, %v", made, err)
	}
	if _, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: sdk.String("a_waiting")}); code(err) != "AccessDenied" {
		t.Errorf("a new queue of another name: %v", err)
	}
	if _, err := client.ListQueues(ctx, &sqs.ListQueuesInput{QueueNamePrefix: sdk.String("a_wait_")}); code(err) != "AccessDenied" {
		t.Errorf("a list: %v", err)
	}
	w.expect("sqs:CreateQueue a_wait_* 1", "sqs:SendMessage a_work 1")
}

func TestRequestsAreSignedByWhomTheyAreFrom(t *testing.T) {
	w := start(t)
	get := func(cfg sdk.Config) error {
		_, err := dynamodb.NewFromConfig(cfg).GetItem(t.Context(), &dynamodb.GetItemInput{TableName: sdk.String("a_rooms"), Key: map[string]types.AttributeValue{
			"p": &types.AttributeValueMemberS{Value: "p"}, "s": &types.AttributeValueMemberS{Value: "s"},
		}})
		return err
	}
	own, err := w.Assume(role, "lambda.amazonaws.com", "a_sync")
	if err != nil {
		t.Fatal(err)
	}
	if err := get(w.config(own)); err != nil {
		t.Errorf("as it is: %v", err)
	}
	changed := func(change func(*Credentials)) sdk.Config {
		c := own
		change(&c)
		return w.config(c)
	}
	elsewhere := w.config(own)
	elsewhere.Region = "eu-west-1"
	for name, tt := range map[string]struct {
		cfg  sdk.Config
		want string
	}{
		"another key":    {changed(func(c *Credentials) { c.AccessKeyID = "ASIANONE" }), "UnrecognizedClientException"},
		"another secret": {changed(func(c *Credentials) { c.SecretAccessKey = "x" }), "InvalidSignatureException"},
		"another token":  {changed(func(c *Credentials) { c.SessionToken = "x" }), "InvalidSignatureException"},
		"another region": {elsewhere, "InvalidSignatureException"},
	} {
		if err := get(tt.cfg); code(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if resp, err := http.Get(w.Endpoint); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("without a signature: %v, %v", resp, err)
	}
	if _, err := w.Assume(role, "apigateway.amazonaws.com", "x"); err == nil || !strings.Contains(err.Error(), "trusts lambda.amazonaws.com") {
		t.Errorf("a service that the role does not trust: %v", err)
	}
	if _, err := w.Assume("arn:x", "lambda.amazonaws.com", "x"); err == nil {
		t.Error("a role that is not there is assumed")
	}
	again, err := w.Assume(role, "lambda.amazonaws.com", "a_sync")
	if other, err2 := w.Assume(role, "lambda.amazonaws.com", "a_other"); err != nil || err2 != nil || again != own || other == own {
		t.Errorf("credentials of sessions: %v, %v", err, err2)
	}
}

func TestPresignedRequestsAreSignedToo(t *testing.T) {
	w := start(t)
	client := s3.NewPresignClient(s3.NewFromConfig(w.function(), func(o *s3.Options) { o.UsePathStyle = true }))
	for key, want := range map[string]int{"local/a b": http.StatusOK, "remote/a": http.StatusForbidden} {
		p, err := client.PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: sdk.String(bucket), Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		put := func(url string) int {
			r, err := http.NewRequestWithContext(t.Context(), p.Method, url, bytes.NewReader([]byte("content")))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			return resp.StatusCode
		}
		if got := put(p.URL); got != want {
			t.Errorf("%s: %d", key, got)
		}
		if got := put(strings.Replace(p.URL, "X-Amz-Expires=900", "X-Amz-Expires=90000", 1)); got != http.StatusForbidden {
			t.Errorf("%s with a longer life: %d", key, got)
		}
	}
}

func TestWhatAWSDoesForARoleIsCheckedToo(t *testing.T) {
	w := start(t)
	if err := w.Check(role, "sqs:SendMessage", w.Queues.ARN("a_work")); err != nil {
		t.Error(err)
	}
	var d *iam.Denied
	if err := w.Check(role, "logs:PutLogEvents", w.LogStream("/virga/a/sync", "x")); !errors.As(err, &d) || d.Request.Resource != arn("logs", "log-group:/virga/a/sync:log-stream:x") {
		t.Error(err)
	}
	w.expect("sqs:SendMessage a_work 1")
	if report := w.Report(); !strings.Contains(report, "logs:PutLogEvents") || !strings.Contains(report, "dynamodb:GetItem dynamodb:Query on "+arn("dynamodb", "table/a_rooms")) {
		t.Errorf("the report:\n%s", report)
	}
}

func TestAnAPIReceivesAsItsRole(t *testing.T) {
	w := start(t)
	url := w.Queues.URL("a_work")
	status, body, err := w.Integrate("SQS-ReceiveMessage", role, map[string]string{"QueueUrl": url, "WaitTimeSeconds": "0", "MaxNumberOfMessages": "10", "VisibilityTimeout": "120"})
	if err != nil || status != http.StatusForbidden || !strings.Contains(string(body), "sqs:ReceiveMessage on resource: "+arn("sqs", "a_work")) {
		t.Errorf("a role that may not: %d %s, %v", status, body, err)
	}
	tm := small(t)
	statements := tm.Resources["Role"].Properties["Policies"].([]any)[0].(map[string]any)["PolicyDocument"].(map[string]any)["Statement"].([]any)
	statements[2].(map[string]any)["Action"] = []any{"sqs:ReceiveMessage"}
	w.Services = Start(t, Options{Template: tm})
	status, body, err = w.Integrate("SQS-ReceiveMessage", role, map[string]string{"QueueUrl": url, "WaitTimeSeconds": "0"})
	if err != nil || status != http.StatusOK || strings.TrimSpace(string(body)) != "{}" {
		t.Errorf("%d %s, %v", status, body, err)
	}
	w.Inject(func(Call) Fault { return Fault{LoseAnswer: true} })
	if status, _, err := w.Integrate("SQS-ReceiveMessage", role, map[string]string{"QueueUrl": url, "WaitTimeSeconds": "0"}); err != nil || status != http.StatusInternalServerError {
		t.Errorf("a lost answer: %d, %v", status, err)
	}
	for _, parameters := range []map[string]string{
		{"WaitTimeSeconds": "0"}, {"QueueUrl": url, "WaitTimeSeconds": "x"}, {"QueueUrl": url, "Wait": "0"}, {"QueueUrl": url, "Region": "eu-west-1"},
	} {
		if _, _, err := w.Integrate("SQS-ReceiveMessage", role, parameters); err == nil {
			t.Errorf("%v is taken", parameters)
		}
	}
	if _, _, err := w.Integrate("SQS-ReceiveMessages", role, map[string]string{"QueueUrl": url}); err == nil {
		t.Error("an integration that does not exist is taken")
	}
}

func TestTheStackIsAskedAboutItself(t *testing.T) {
	w := start(t)
	w.SetStatus("DELETE_IN_PROGRESS")
	post := func(c Credentials, service, path, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Endpoint+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Invocation-Type", "Event")
		sum := sha256.Sum256([]byte(body))
		who := sdk.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
		if err := v4.NewSigner().SignHTTP(t.Context(), who, r, hex.EncodeToString(sum[:]), service, "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	own, err := w.Assume(role, "lambda.amazonaws.com", "a_provider")
	if err != nil {
		t.Fatal(err)
	}
	describe := "Action=DescribeStacks&StackName=" + url.QueryEscape(arn("cloudformation", "stack/a/1"))
	if status, text := post(w.Root(), "cloudformation", "/", describe); status != http.StatusOK || !strings.Contains(text, "<StackStatus>DELETE_IN_PROGRESS</StackStatus>") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := post(own, "cloudformation", "/", describe); status != http.StatusForbidden || !strings.Contains(text, "cloudformation:DescribeStacks on resource: "+arn("cloudformation", "stack/a/1")) {
		t.Errorf("%d %s", status, text)
	}
	if status, text := post(own, "lambda", "/2015-03-31/functions/a_provider/invocations", "{}"); status != http.StatusForbidden || !strings.Contains(text, "lambda:InvokeFunction") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := post(own, "ec2", "/", ""); status != http.StatusForbidden || !strings.Contains(text, "ec2") {
		t.Errorf("%d %s", status, text)
	}
}

func TestFaultsHappenWhereTheyAreAskedFor(t *testing.T) {
	w := start(t)
	db := aws.NewDB(w.options())
	key := store.Key{Part: "R#!a", Sort: "1"}
	n := 0
	w.Inject(func(c Call) Fault {
		if n++; c.Operation == "PutItem" && n == 1 {
			return Fault{LoseAnswer: true}
		}
		return Fault{Throttle: c.Operation == "PutItem" && n == 2}
	})
	if _, err := db.Write(t.Context(), store.Put(store.Rooms, key, store.Attrs{"n": int64(1)})); err != nil {
		t.Errorf("a write that is repeated: %v", err)
	}
	if n != 3 || len(w.changes) != 2 {
		t.Errorf("%d attempts, changes %v", n, w.changes)
	}
	w.Inject(func(Call) Fault { return Fault{Throttle: true} })
	if _, err := db.Get(t.Context(), store.Ref{Table: store.Rooms, Key: key}, store.Consistent); !errors.Is(err, store.ErrThrottled) {
		t.Errorf("throttled: %v", err)
	}
	if err := aws.NewSender(w.options()).Send(t.Context(), queue.Work, queue.Message{Body: "x"}); code(err) != "RequestThrottled" {
		t.Errorf("throttled: %v", err)
	}
	if err := aws.NewBlobs(w.options()).Delete(t.Context(), "local/a"); code(err) != "SlowDown" {
		t.Errorf("throttled: %v", err)
	}
	w.Inject(func(Call) Fault { return Fault{Delay: time.Hour} })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := db.Get(ctx, store.Ref{Table: store.Rooms, Key: key}, store.Consistent); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("delayed: %v", err)
	}
	w.Inject(nil)
	if _, err := db.Get(t.Context(), store.Ref{Table: store.Rooms, Key: key}, store.Consistent); err != nil {
		t.Error(err)
	}
}
