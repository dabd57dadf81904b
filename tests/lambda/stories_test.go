package lambda

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/tests/scripts"
)

// TestStoriesHoldOnDynamoDB runs the request scripts against the routes over the
// adapters for AWS and a server of the DynamoDB API: what holds on the embedded
// store holds there.
func TestStoriesHoldOnDynamoDB(t *testing.T) {
	files, err := filepath.Glob("../scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			s, err := scripts.Parse(file)
			if err != nil {
				t.Fatal(err)
			}
			s.Run(t, StartOnDynamoDB(t, awstest.Options(awstest.DynamoDB(t)), s.Flags...), "localhost")
		})
	}
}
