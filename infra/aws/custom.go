package main

import (
	"errors"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudfront"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3assets"
	"github.com/aws/jsii-runtime-go"

	"github.com/virga-im/virga/shared/route"
)

// custom are the custom resources: what our own program makes and deletes for
// CloudFormation. What each is, and why, is in shared/aws/provider.go.
//
// What depends on what is also the order in which things go. All that answers
// HTTP, and the distribution, hold the secret; the secret is made after Remains;
// so when Remains is deleted nobody is left who writes to the bucket, and the
// bucket, which Remains names, is deleted after it.
type custom struct {
	provider *function
	remains  awscdk.CfnResource
	// secret is what the door sends, and accepted what functions take.
	secret, accepted *string
}

// serviceTimeout is how many seconds CloudFormation waits for a key or a secret,
// instead of an hour. Emptying a bucket has the hour.
const serviceTimeout = "300"

// addCustomResources adds the function that answers CloudFormation, and what it
// gives and removes.
func (s *stack) addCustomResources(functions []*function, roles map[*function]awsiam.CfnRole, program awss3assets.Asset) error {
	for _, f := range functions {
		if f.worker == nil {
			continue
		}
		if _, ok := f.worker.On.(route.Life); !ok {
			continue
		}
		if s.custom.provider != nil {
			return errors.New("two workers are started by the stack")
		}
		s.custom.provider = f
	}
	if s.custom.provider == nil {
		return errors.New("no worker is started by the stack: functions would have no secret, and everybody could reach them")
	}
	token := s.addFunctions([]*function{s.custom.provider}, roles, program, nil)[s.custom.provider.name].AttrArn()
	add := func(id string, properties map[string]any) awscdk.CfnResource {
		properties["ServiceToken"] = token
		return awscdk.NewCfnResource(s.Stack, jsii.String(id), &awscdk.CfnResourceProps{
			Type: jsii.String("Custom::Virga" + id), Properties: &properties,
		})
	}
	// The names of queues that are made while the server runs begin so.
	remains := map[string]any{"Queues": s.named("wait_")}
	if !s.prod() {
		remains["EmptyBucket"] = s.bucket.Ref()
	}
	s.custom.remains = add("Remains", remains)
	// The key has no property that could change: an update would make another.
	key := add("Key", map[string]any{"ServiceTimeout": serviceTimeout})
	secret := add("Secret", map[string]any{
		"ServiceTimeout": serviceTimeout, "Generation": s.opts.generation, "Key": attribute(key, "Key"),
	})
	secret.AddResourceDependency(s.custom.remains, nil)
	s.custom.secret, s.custom.accepted = attribute(secret, "Secret"), attribute(secret, "Accepted")
	return nil
}

func attribute(of awscdk.CfnResource, name string) *string {
	return awscdk.Token_AsString(of.GetAtt(jsii.String(name), awscdk.ResolutionTypeHint_STRING), nil)
}

// secretHeader is what the distribution adds to each request to an origin. It
// replaces a header of the same name that a client sent.
func (s *stack) secretHeader() []any {
	return []any{&awscloudfront.CfnDistribution_OriginCustomHeaderProperty{
		HeaderName: jsii.String("X-Virga-Secret"), HeaderValue: s.custom.secret,
	}}
}

// providerStatements is what the provider needs to delete what would stay, and to
// go on in another run. Only in dev may it touch the bucket.
func (s *stack) providerStatements(f *function) []any {
	arn := func(rest string) *string {
		return awscdk.Fn_Sub(jsii.String("arn:${AWS::Partition}:"+rest), nil)
	}
	all := []any{
		statement([]string{"cloudformation:DescribeStacks"}, arn("cloudformation:${AWS::Region}:${AWS::AccountId}:stack/"+s.opts.stack+"/*")),
		statement([]string{"lambda:InvokeFunction"}, s.functionARN(f.name)),
		statement([]string{"sqs:DeleteQueue"}, arn("sqs:${AWS::Region}:${AWS::AccountId}:"+*s.named("wait_*"))),
		// IAM knows no resource for ListQueues, and there is no other way to learn
		// the names of the queues. It tells names, and nothing that is in them.
		statement([]string{"sqs:ListQueues"}, jsii.String("*")),
	}
	if !s.prod() {
		all = append(all,
			statement([]string{"s3:ListBucketVersions"}, s.bucket.AttrArn()),
			statement([]string{"s3:DeleteObject", "s3:DeleteObjectVersion"}, *s.bucket.AttrArn()+"/*"))
	}
	return all
}
