package aws_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/store/storetest"
)

// The contract of changes, from the table's stream through Lambda's event to
// the worker.
func TestDynamoDBPublishesChanges(t *testing.T) {
	endpoint := awstest.DynamoDB(t)
	cfg, _ := awstest.Config(endpoint)()
	tables, streams := dynamodb.NewFromConfig(cfg), dynamodbstreams.NewFromConfig(cfg)
	storetest.RunChanges(t, aws.NewDB(awstest.Options(endpoint)),
		func(ctx context.Context, s store.ChangeStream, _ string, handle func(context.Context, []store.Change) error) error {
			name := aws.TableName(awstest.Stack, s.Table)
			table, err := tables.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
			if err != nil {
				return err
			}
			return deliver(ctx, streams, table.Table.LatestStreamArn, aws.Changes(handle))
		})
}

// deliver invokes a function with the records of a stream of one shard, as
// Lambda does. A batch that fails comes again.
func deliver(ctx context.Context, c *dynamodbstreams.Client, arn *string, function aws.Invocation) error {
	stream, err := c.DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: arn})
	if err != nil {
		return err
	}
	if n := len(stream.StreamDescription.Shards); n != 1 {
		return fmt.Errorf("%d shards", n)
	}
	start, err := c.GetShardIterator(ctx, &dynamodbstreams.GetShardIteratorInput{
		StreamArn: arn, ShardId: stream.StreamDescription.Shards[0].ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		return err
	}
	for next := start.ShardIterator; ; {
		out, err := c.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: next, Limit: sdk.Int32(100)})
		if err != nil {
			return err
		}
		if len(out.Records) > 0 {
			event, err := streamEvent(arn, out.Records)
			if err != nil {
				return err
			}
			if _, err := function(ctx, event); err != nil {
				continue
			}
		}
		if next = out.NextShardIterator; next == nil {
			return errors.New("the shard ended")
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// streamEvent is Lambda's event of the records.
func streamEvent(arn *string, records []types.Record) ([]byte, error) {
	var list []any
	for _, r := range records {
		keys := map[string]map[string]string{}
		for name, v := range r.Dynamodb.Keys {
			keys[name] = map[string]string{"S": v.(*types.AttributeValueMemberS).Value}
		}
		record := map[string]any{
			"eventID": r.EventID, "eventName": r.EventName, "eventSourceARN": arn, "eventSource": "aws:dynamodb",
			"dynamodb": map[string]any{
				"Keys": keys, "SequenceNumber": r.Dynamodb.SequenceNumber, "StreamViewType": r.Dynamodb.StreamViewType,
			},
		}
		if r.UserIdentity != nil {
			record["userIdentity"] = map[string]any{"type": r.UserIdentity.Type, "principalId": r.UserIdentity.PrincipalId}
		}
		list = append(list, record)
	}
	return json.Marshal(map[string]any{"Records": list})
}
