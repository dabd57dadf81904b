package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/jsii-runtime-go"

	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/store"
)

// addTables adds the tables of the data model. In prod they outlive the stack
// and can be restored to any second of the last 35 days.
func (s *stack) addTables() {
	for _, t := range store.Tables {
		props := &awsdynamodb.CfnTableProps{
			TableName:   s.named(t.Name),
			BillingMode: jsii.String("PAY_PER_REQUEST"),
			AttributeDefinitions: []any{
				&awsdynamodb.CfnTable_AttributeDefinitionProperty{AttributeName: jsii.String(store.PartAttr), AttributeType: jsii.String("S")},
				&awsdynamodb.CfnTable_AttributeDefinitionProperty{AttributeName: jsii.String(store.SortAttr), AttributeType: jsii.String("S")},
			},
			KeySchema: []any{
				&awsdynamodb.CfnTable_KeySchemaProperty{AttributeName: jsii.String(store.PartAttr), KeyType: jsii.String("HASH")},
				&awsdynamodb.CfnTable_KeySchemaProperty{AttributeName: jsii.String(store.SortAttr), KeyType: jsii.String("RANGE")},
			},
			TimeToLiveSpecification: &awsdynamodb.CfnTable_TimeToLiveSpecificationProperty{
				AttributeName: jsii.String(store.TTL), Enabled: jsii.Bool(true),
			},
			PointInTimeRecoverySpecification: &awsdynamodb.CfnTable_PointInTimeRecoverySpecificationProperty{
				PointInTimeRecoveryEnabled: jsii.Bool(s.prod()),
			},
			DeletionProtectionEnabled: jsii.Bool(s.prod()),
		}
		if t.Streamed {
			// A change is a hint to read the item, so its keys are enough.
			props.StreamSpecification = &awsdynamodb.CfnTable_StreamSpecificationProperty{StreamViewType: jsii.String("KEYS_ONLY")}
		}
		table := awsdynamodb.NewCfnTable(s.Stack, jsii.String(logical(t.Name)+"Table"), props)
		s.keep(table)
		s.tables[t.Name] = table
	}
}

// addBucket adds the bucket of media. Its name is CloudFormation's: names of
// buckets are shared with the whole world.
func (s *stack) addBucket() {
	status := "Suspended"
	if s.prod() {
		status = "Enabled"
	}
	rule := func(id string) *awss3.CfnBucket_RuleProperty {
		return &awss3.CfnBucket_RuleProperty{Id: jsii.String(id), Status: jsii.String("Enabled")}
	}
	aborted, replaced, stranded := rule("aborted-uploads"), rule("replaced-versions"), rule("stranded-uploads")
	aborted.AbortIncompleteMultipartUpload = &awss3.CfnBucket_AbortIncompleteMultipartUploadProperty{DaysAfterInitiation: jsii.Number(2)}
	replaced.NoncurrentVersionExpiration = &awss3.CfnBucket_NoncurrentVersionExpirationProperty{NoncurrentDays: jsii.Number(35)}
	// A worker moves direct uploads away at once; what lies longer has no owner.
	stranded.Prefix, stranded.ExpirationInDays = jsii.String("incoming/"), jsii.Number(7)
	s.bucket = awss3.NewCfnBucket(s.Stack, jsii.String("MediaBucket"), &awss3.CfnBucketProps{
		PublicAccessBlockConfiguration: &awss3.CfnBucket_PublicAccessBlockConfigurationProperty{
			BlockPublicAcls: jsii.Bool(true), BlockPublicPolicy: jsii.Bool(true),
			IgnorePublicAcls: jsii.Bool(true), RestrictPublicBuckets: jsii.Bool(true),
		},
		VersioningConfiguration: &awss3.CfnBucket_VersioningConfigurationProperty{Status: jsii.String(status)},
		LifecycleConfiguration:  &awss3.CfnBucket_LifecycleConfigurationProperty{Rules: []any{aborted, replaced, stranded}},
	})
	s.keep(s.bucket)
}

// maxReceives is how often a message is tried before it is put aside.
const maxReceives = 5

// addQueues adds the queues of the data model, each with a queue where messages
// end that fail again and again.
func (s *stack) addQueues() {
	for _, q := range queue.Queues {
		s.deadQueues[q.Name] = s.addQueue(q.Name+"_dead", &queue.Queue{FIFO: q.FIFO}, func(p *awssqs.CfnQueueProps) {
			p.MessageRetentionPeriod = jsii.Number(14 * 24 * 3600) // the longest there is: a person has to look
		})
		s.queues[q.Name] = s.addQueue(q.Name, q, func(p *awssqs.CfnQueueProps) {
			// A message stays hidden while its function may still be at work;
			// six times its timeout is what Lambda asks for.
			p.VisibilityTimeout = jsii.Number(6 * route.Background.Timeout().Seconds())
			p.MessageRetentionPeriod = jsii.Number(4 * 24 * 3600)
			p.RedrivePolicy = map[string]any{
				"deadLetterTargetArn": s.deadQueues[q.Name].AttrArn(), "maxReceiveCount": maxReceives,
			}
		})
	}
}

func (s *stack) addQueue(name string, q *queue.Queue, more func(*awssqs.CfnQueueProps)) awssqs.CfnQueue {
	props := &awssqs.CfnQueueProps{QueueName: s.named(name), SqsManagedSseEnabled: jsii.Bool(true)}
	if q.FIFO {
		// Order and repetition are matters of one room, which lets rooms pass
		// each other.
		props.QueueName = s.named(name + ".fifo")
		props.FifoQueue = jsii.Bool(true)
		props.DeduplicationScope = jsii.String("messageGroup")
		props.FifoThroughputLimit = jsii.String("perMessageGroupId")
	}
	more(props)
	made := awssqs.NewCfnQueue(s.Stack, jsii.String(logical(name)+"Queue"), props)
	s.inSection(made, "data")
	return made
}

// keep marks a resource as data, and decides what happens to it when the stack
// goes.
func (s *stack) keep(r awscdk.CfnResource) {
	policy := awscdk.RemovalPolicy_DESTROY
	if s.prod() {
		policy = awscdk.RemovalPolicy_RETAIN
	}
	r.ApplyRemovalPolicy(policy, nil)
	s.inSection(r, "data")
}
