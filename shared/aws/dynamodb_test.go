package aws_test

import (
	"testing"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/store/storetest"
)

func TestDynamoDBIsAStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.DB {
		return aws.NewDB(awstest.Options(awstest.DynamoDB(t)))
	})
}
