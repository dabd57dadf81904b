package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/archive"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/account"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
)

func environment(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
}

// The commands, over servers that imitate AWS: what is exported from one stack fills
// another.
func TestCommands(t *testing.T) {
	environment(t)
	queues := awstest.SQS(t)
	stack := func() aws.Options {
		db := awstest.DynamoDB(t)
		t.Setenv("AWS_ENDPOINT_URL_S3", awstest.S3(t))
		t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", db)
		t.Setenv("AWS_ENDPOINT_URL_SQS", queues.Endpoint)
		return aws.Options{Stack: awstest.Stack, Bucket: awstest.Bucket, Config: account.LoadConfig()}
	}
	is := []string{"-stack", awstest.Stack, "-bucket", awstest.Bucket, "-server-name", "example.org"}
	with := func(command string, more ...string) []string {
		return append(append([]string{command}, is...), more...)
	}
	file := filepath.Join(t.TempDir(), "file")

	from := stack()
	key := store.Key{Part: "U#@a:example.org", Sort: "PUSH#x"}
	if _, err := aws.NewDB(from).Write(t.Context(), store.Put(store.Users, key, store.Attrs{"n": int64(7)})); err != nil {
		t.Fatal(err)
	}
	picture := strings.Repeat("picture", 1000)
	if err := aws.NewBlobs(from).Put(t.Context(), "a/b", "image/png", strings.NewReader(picture), -1); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), with("export", file)); err != nil {
		t.Fatal(err)
	}

	to := stack()
	work := queues.URLs[queue.Work.Name]
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1") // nobody knows where it is
	if err := run(t.Context(), with("import", file)); err == nil || !strings.Contains(err.Error(), "-queue") {
		t.Errorf("without a queue: %v", err)
	}
	if err := run(t.Context(), with("import", "-queue", work, file)); err != nil {
		t.Fatal(err)
	}
	it, err := aws.NewDB(to).Get(t.Context(), store.Ref{Table: store.Users, Key: key}, store.Consistent)
	if err != nil || it.Int("n") != 7 {
		t.Errorf("%v, %v", it, err)
	}
	if m, err := aws.NewBlobs(to).Stat(t.Context(), "a/b"); err != nil || m.Size != int64(len(picture)) {
		t.Errorf("%v, %v", m, err)
	}
	if err := run(t.Context(), with("import", "-queue", work, file)); err == nil || !strings.Contains(err.Error(), "empty stores") {
		t.Errorf("a second time: %v", err)
	}

	for _, args := range [][]string{nil, {"delete"}, {"export", file}, with("export"), with("export", file), with("export", "-"), {"export", "-x", file}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%q is no mistake", args)
		}
	}
	if b, err := os.ReadFile(file); err != nil || !bytes.Contains(b, []byte(`"server_name":"example.org"`)) {
		t.Errorf("the file is another now: %v", err)
	}
	if _, err := os.Stat(archive.MediaOf(file)); err != nil {
		t.Error(err)
	}
}
