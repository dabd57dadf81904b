package awstest_test

import (
	"testing"
	"time"

	"github.com/virga-im/virga/shared/aws/awstest"
)

func BenchmarkDynamoDB(b *testing.B) {
	for b.Loop() {
		awstest.DynamoDB(b)
	}
}

func TestServersStart(t *testing.T) {
	start := time.Now()
	awstest.DynamoDB(t)
	t.Log(time.Since(start))
	start = time.Now()
	awstest.DynamoDB(t)
	t.Log(time.Since(start))
	awstest.S3(t)
	t.Log(time.Since(start))
}
