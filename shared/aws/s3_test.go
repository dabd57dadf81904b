package aws_test

import (
	"testing"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/blob"
	"github.com/virga-im/virga/shared/blob/blobtest"
)

func TestS3IsABlobStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		return aws.NewBlobs(awstest.Options(awstest.S3(t)))
	})
}
