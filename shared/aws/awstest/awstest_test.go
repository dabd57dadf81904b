package awstest_test

import (
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/store"
)

func TestDatabaseHasTheTables(t *testing.T) {
	endpoint := awstest.DynamoDB(t)
	if awstest.DynamoDB(t) == endpoint {
		t.Error("two tests share a database")
	}
	cfg, _ := awstest.Config(endpoint)()
	client := dynamodb.NewFromConfig(cfg)
	for _, table := range store.Tables {
		name := sdk.String("test_" + table.Name)
		out, err := client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: name})
		if err != nil {
			t.Error(err)
			continue
		}
		stream := out.Table.StreamSpecification
		if streamed := stream != nil && stream.StreamViewType == types.StreamViewTypeKeysOnly; streamed != table.Streamed {
			t.Errorf("%s: streamed %v", *name, streamed)
		}
		ttl, err := client.DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: name})
		if err != nil || sdk.ToString(ttl.TimeToLiveDescription.AttributeName) != store.TTL {
			t.Errorf("%s: time to live %+v, %v", *name, ttl, err)
		}
	}
}
