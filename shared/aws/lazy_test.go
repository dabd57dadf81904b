package aws_test

import (
	"errors"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
)

// A client is built when it is used, once, and none for another's sake: each asks
// for the configuration.
func TestOnlyTheClientsThatAreUsedAreBuilt(t *testing.T) {
	built := 0
	o := aws.Options{Stack: "test", Bucket: "b", Queues: map[string]string{"work": "http://127.0.0.1/work"}, Config: func() (sdk.Config, error) {
		built++
		return sdk.Config{}, errors.New("no configuration")
	}}
	db, blobs, sender := aws.NewDB(o), aws.NewBlobs(o), aws.NewSender(o)
	for i, step := range []struct {
		do   func() error
		want int
	}{
		{func() error { return errors.New("no configuration: nothing was used") }, 0},
		{func() error { _, err := db.Write(t.Context(), store.Put(store.Users, key, nil)); return err }, 1},
		{func() error {
			_, err := db.Get(t.Context(), store.Ref{Table: store.Users, Key: key}, store.Consistent)
			return err
		}, 1},
		{func() error { return sender.Send(t.Context(), queue.Work, queue.Message{Body: "x"}) }, 2},
		{func() error { return blobs.Delete(t.Context(), "key") }, 3},
		{func() error { _, err := blobs.Stat(t.Context(), "key"); return err }, 3},
	} {
		if err := step.do(); err == nil || !strings.Contains(err.Error(), "no configuration") {
			t.Errorf("step %d: %v", i, err)
		}
		if built != step.want {
			t.Errorf("after step %d there are %d clients, want %d", i, built, step.want)
		}
	}
}

func TestAFunctionNeedsItsCredentials(t *testing.T) {
	for name, value := range map[string]string{"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "token", "AWS_ENDPOINT_URL": ""} {
		t.Setenv(name, value)
	}
	if _, err := aws.FunctionConfig()(); err == nil || !strings.Contains(err.Error(), "AWS_SECRET_ACCESS_KEY") {
		t.Errorf("without a key: %v", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "key")
	cfg, err := aws.FunctionConfig()()
	if err != nil {
		t.Fatal(err)
	}
	c, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil || c.AccessKeyID != "id" || c.SecretAccessKey != "key" || c.SessionToken != "token" || cfg.Region != "eu-central-1" || cfg.BaseEndpoint != nil {
		t.Errorf("got %+v in %s, %v", c, cfg.Region, err)
	}
}
