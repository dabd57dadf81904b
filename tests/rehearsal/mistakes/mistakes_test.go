package mistakes

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/tests/rehearsal/template"
)

// good is a stack without mistakes that has one of everything.
const good = `{"Resources": {
	"Rooms": {"Type":"AWS::DynamoDB::Table","Properties":{"TableName":"a_rooms","StreamSpecification":{"StreamViewType":"KEYS_ONLY"}}},
	"Bucket": {"Type":"AWS::S3::Bucket","Properties":{}},
	"Work": {"Type":"AWS::SQS::Queue","Properties":{"QueueName":"a_work","VisibilityTimeout":720,"RedrivePolicy":{"deadLetterTargetArn":{"Fn::GetAtt":["Dead","Arn"]},"maxReceiveCount":5}}},
	"Dead": {"Type":"AWS::SQS::Queue","Properties":{"QueueName":"a_work_dead"}},
	"Logs": {"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"/virga/a/workers"}},
	"Role": {"Type":"AWS::IAM::Role","Properties":{
		"AssumeRolePolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"lambda.amazonaws.com"}}]},
		"Policies":[{"PolicyName":"uses","PolicyDocument":{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":["sqs:DeleteMessage","sqs:GetQueueAttributes","sqs:ReceiveMessage"],"Resource":[{"Fn::GetAtt":["Work","Arn"]}]},
			{"Effect":"Allow","Action":["dynamodb:DescribeStream","dynamodb:GetRecords","dynamodb:GetShardIterator","dynamodb:ListStreams"],"Resource":[{"Fn::GetAtt":["Rooms","StreamArn"]}]},
			{"Effect":"Allow","Action":["sqs:SendMessage"],"Resource":[{"Fn::GetAtt":["Dead","Arn"]}]}]}}]}},
	"Invoke": {"Type":"AWS::IAM::Role","Properties":{
		"AssumeRolePolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"apigateway.amazonaws.com"}}]},
		"Policies":[{"PolicyName":"invoke","PolicyDocument":{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":["lambda:InvokeFunction"],"Resource":[{"Fn::Sub":"arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:a_*"}]}]}}]}},
	"work": {"Type":"AWS::Lambda::Function","Properties":{"FunctionName":"a_work","Handler":"work","Role":{"Fn::GetAtt":["Role","Arn"]},"Timeout":120,"MemorySize":256,
		"Code":{"S3Bucket":"assets","S3Key":"f00.zip"},"LoggingConfig":{"LogGroup":{"Ref":"Logs"}},
		"Environment":{"Variables":{"VIRGA_QUEUE_WORK":{"Ref":"Work"},"VIRGA_BUCKET":{"Ref":"Bucket"},"VIRGA_STACK":"a","VIRGA_WAIT_QUEUES":"https://sqs.us-east-1.amazonaws.com/123456789012/a_wait_"}}}},
	"WorkTrigger": {"Type":"AWS::Lambda::EventSourceMapping","Properties":{"FunctionName":{"Ref":"work"},"EventSourceArn":{"Fn::GetAtt":["Work","Arn"]},"BatchSize":10,
		"FunctionResponseTypes":["ReportBatchItemFailures"],"ScalingConfig":{"MaximumConcurrency":5}}},
	"RoomsTrigger": {"Type":"AWS::Lambda::EventSourceMapping","Properties":{"FunctionName":{"Ref":"work"},"EventSourceArn":{"Fn::GetAtt":["Rooms","StreamArn"]},"BatchSize":100,
		"StartingPosition":"TRIM_HORIZON","DestinationConfig":{"OnFailure":{"Destination":{"Fn::GetAtt":["Dead","Arn"]}}}}},
	"Rule": {"Type":"AWS::Events::Rule","Properties":{"Name":"a_sweep","ScheduleExpression":"rate(5 minutes)","Targets":[{"Id":"worker","Arn":{"Fn::GetAtt":["work","Arn"]}}]}},
	"RulePermission": {"Type":"AWS::Lambda::Permission","Properties":{"Action":"lambda:InvokeFunction","FunctionName":{"Ref":"work"},"Principal":"events.amazonaws.com","SourceArn":{"Fn::GetAtt":["Rule","Arn"]}}},
	"Secret": {"Type":"Custom::Secret","Properties":{"ServiceToken":{"Fn::GetAtt":["work","Arn"]}}},
	"Url": {"Type":"AWS::Lambda::Url","Properties":{"AuthType":"NONE","TargetFunctionArn":{"Fn::GetAtt":["work","Arn"]},"InvokeMode":"RESPONSE_STREAM"}},
	"UrlPermission": {"Type":"AWS::Lambda::Permission","Properties":{"Action":"lambda:InvokeFunctionUrl","FunctionName":{"Ref":"work"},"Principal":"*","FunctionUrlAuthType":"NONE"}},
	"UrlInvoke": {"Type":"AWS::Lambda::Permission","Properties":{"Action":"lambda:InvokeFunction","FunctionName":{"Ref":"work"},"Principal":"*","InvokedViaFunctionUrl":true}},
	"Api": {"Type":"AWS::ApiGatewayV2::Api","Properties":{"Body":{"openapi":"3.0.1","paths":{
			"/work":{"get":{"x-amazon-apigateway-integration":{"$ref":"#/components/x-amazon-apigateway-integrations/work"}}},
			"/wait":{"get":{"x-amazon-apigateway-integration":{"$ref":"#/components/x-amazon-apigateway-integrations/wait"}}}},
		"components":{"x-amazon-apigateway-integrations":{
			"work":{"type":"AWS_PROXY","httpMethod":"POST","payloadFormatVersion":"2.0","timeoutInMillis":30000,"credentials":{"Fn::GetAtt":["Invoke","Arn"]},
				"uri":{"Fn::Sub":"arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:a_work/invocations"}},
			"wait":{"type":"AWS_PROXY","integrationSubtype":"SQS-ReceiveMessage","payloadFormatVersion":"1.0","credentials":{"Fn::GetAtt":["Invoke","Arn"]},
				"requestParameters":{"QueueUrl":"https://sqs/x","WaitTimeSeconds":"20"},"responseParameters":{"200":{"overwrite:header.location":"done","overwrite:statuscode":"307"}}}}}}}},
	"Stage": {"Type":"AWS::ApiGatewayV2::Stage","Properties":{"ApiId":{"Ref":"Api"},"StageName":"$default","AutoDeploy":true}},
	"Door": {"Type":"AWS::CloudFront::Function","Properties":{"Name":"a_door","AutoPublish":true,"FunctionCode":"x"}},
	"Policy": {"Type":"AWS::CloudFront::CachePolicy","Properties":{"CachePolicyConfig":{"Name":"a_door","MinTTL":0,"DefaultTTL":0,"MaxTTL":1,
		"ParametersInCacheKeyAndForwardedToOrigin":{"HeadersConfig":{"HeaderBehavior":"whitelist"}}}}},
	"Distribution": {"Type":"AWS::CloudFront::Distribution","Properties":{"DistributionConfig":{
		"Origins":[{"Id":"Api","DomainName":{"Fn::Join":["",[{"Ref":"Api"},".execute-api.",{"Ref":"AWS::Region"},".",{"Ref":"AWS::URLSuffix"}]]},
				"CustomOriginConfig":{"OriginReadTimeout":35},"OriginCustomHeaders":[{"HeaderName":"X-Virga-Secret","HeaderValue":{"Fn::GetAtt":["Secret","Secret"]}}]},
			{"Id":"Url","DomainName":{"Fn::Select":[2,{"Fn::Split":["/",{"Fn::GetAtt":["Url","FunctionUrl"]}]}]}}],
		"DefaultCacheBehavior":{"TargetOriginId":"Api","CachePolicyId":{"Ref":"Policy"},"FunctionAssociations":[{"EventType":"viewer-request","FunctionARN":{"Fn::GetAtt":["Door","FunctionMetadata.FunctionARN"]}}]},
		"CacheBehaviors":[{"PathPattern":"/sync","TargetOriginId":"Url","CachePolicyId":{"Ref":"Policy"}}]}}}
}, "Outputs": {"URL":{"Value":{"Fn::GetAtt":["Distribution","DomainName"]}}}}`

func read(t *testing.T, text string) *template.Template {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"manifest.json": `{"artifacts":{"a.assets":{"type":"cdk:asset-manifest","properties":{"file":"a.assets.json"}},
			"a":{"type":"aws:cloudformation:stack","properties":{"templateFile":"a.template.json"}}}}`,
		"a.assets.json":   `{"files":{"f00":{"source":{"path":"asset.f00"},"destinations":{"d":{"objectKey":"f00.zip"}}}}}`,
		"a.template.json": text,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tm, err := template.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tm
}

func TestAGoodStackHasNoMistakes(t *testing.T) {
	for _, m := range Find(read(t, good)) {
		t.Error(m)
	}
}

func TestMistakesAreFound(t *testing.T) {
	for _, tt := range []struct{ was, is, want string }{
		{`{"Ref":"Work"}`, `{"Ref":"Werk"}`, "Ref of Werk"},
		{`"VIRGA_BUCKET":{"Ref":"Bucket"}`, `"VIRGA_BUCKET":"a-bucket"`, "VIRGA_BUCKET=a-bucket names what the stack has not"},
		{`{"Ref":"Work"}`, `"https://sqs.us-east-1.amazonaws.com/123456789012/a_werk"`, "a_werk names what the stack has not"},
		{`123456789012/a_wait_"`, `123456789012/b_wait_"`, "b_wait_ names what the stack has not"},
		{`"VIRGA_STACK":"a"`, `"VIRGA_STACK":"a","AWS_REGION":"x"`, "AWS_REGION belongs to Lambda"},
		{`"VIRGA_STACK":"a"`, `"VIRGA_PUBLIC_BASEURL":{"Fn::Sub":"https://${Distribution.DomainName}"}`, "a circle: Distribution needs"},
		{`"Type":"Custom::Secret"`, `"DependsOn":["Nobody"],"Type":"Custom::Secret"`, "Secret depends on Nobody"},
		{`"QueueName":"a_work_dead"`, `"QueueName":"a_work"`, "have the same name"},
		{`"Handler":"work","Role":{"Fn::GetAtt":["Role","Arn"]}`, `"Handler":"work","Role":{"Fn::GetAtt":["Invoke","Arn"]}`, "work: its role Invoke does not trust lambda.amazonaws.com"},
		{`"Timeout":120`, `"Timeout":901`, "a timeout of 901 s"},
		{`"LogGroup":{"Ref":"Logs"}`, `"LogGroup":"/virga/a/worker"`, "its log group /virga/a/worker is not in the stack"},
		{`"S3Key":"f00.zip"`, `"S3Key":"f01.zip"`, "f01.zip"},
		{`"TableName":"a_rooms","StreamSpecification":{"StreamViewType":"KEYS_ONLY"}`, `"TableName":"a_rooms"`, "the table Rooms has no stream"},
		{`"StartingPosition":"TRIM_HORIZON",`, ``, "a stream is read from"},
		{`"dynamodb:GetRecords",`, ``, "RoomsTrigger: its role Role does not allow dynamodb:GetRecords"},
		{`"sqs:ReceiveMessage"`, `"sqs:PurgeQueue"`, "WorkTrigger: its role Role does not allow sqs:ReceiveMessage"},
		{`"VisibilityTimeout":720`, `"VisibilityTimeout":60`, "messages are hidden for 60 s"},
		{`"VisibilityTimeout":720,`, ``, "messages are hidden for 30 s"},
		{`"BatchSize":10,`, `"BatchSize":100,`, "batches of 100"},
		{`"MaximumConcurrency":5`, `"MaximumConcurrency":1`, "1 at once"},
		{`"BatchSize":10,`, `"BatchSize":10,"BisectBatchOnFunctionError":true,`, "read as if it were a stream"},
		{`"EventSourceArn":{"Fn::GetAtt":["Work","Arn"]}`, `"EventSourceArn":{"Fn::GetAtt":["Rooms","Arn"]}`, "is no stream or queue of the stack"},
		{`"QueueName":"a_work_dead"`, `"QueueName":"a_work_dead.fifo","FifoQueue":true`, "Work and its dead letters differ in order"},
		{`"QueueName":"a_work_dead"`, `"QueueName":"a_work_dead.fifo"`, "FIFO is false"},
		{`"SourceArn":{"Fn::GetAtt":["Rule","Arn"]}`, `"SourceArn":"arn:aws:events:us-east-1:123456789012:rule/b"`, "Rule: nothing allows it to invoke work"},
		{`"Targets":[{"Id":"worker","Arn":{"Fn::GetAtt":["work","Arn"]}}]`, `"Targets":[]`, "Rule starts nothing"},
		{`"Action":"lambda:InvokeFunctionUrl"`, `"Action":"lambda:InvokeAsync"`, "nothing allows everybody lambda:InvokeFunctionUrl"},
		{`,"InvokedViaFunctionUrl":true`, ``, "everybody may invoke work, with or without its URL"},
		{`"Secret": {"Type":"Custom::Secret","Properties":{"ServiceToken":{"Fn::GetAtt":["work","Arn"]}}}`, `"Secret": {"Type":"Custom::Secret","Properties":{"ServiceToken":"arn:x"}}`, "its provider arn:x"},
		{`"timeoutInMillis":30000`, `"timeoutInMillis":60000`, "60000 ms, and an HTTP API allows"},
		{`SQS-ReceiveMessage`, `SQS-ReceiveMessages`, "there is no integration SQS-ReceiveMessages"},
		{`"payloadFormatVersion":"1.0"`, `"payloadFormatVersion":"2.0"`, "takes payloads of the version 1.0 alone"},
		{`"QueueUrl":"https://sqs/x",`, ``, "SQS-ReceiveMessage needs QueueUrl"},
		{`"overwrite:header.location"`, `"overwrite:header.location!"`, "it changes"},
		{`"responseParameters":{"200"`, `"responseParameters":{"2xx"`, "the status \"2xx\""},
		{`integrations/wait"`, `integrations/weight"`, "integrations/weight is not there"},
		{`function:a_work/invocations`, `function:a_werk/invocations`, "function:a_werk is not in the stack"},
		{`"AutoDeploy":true`, `"AutoDeploy":false`, "Api has no stage that deploys by itself"},
		{`function:a_*"`, `function:a_s*"`, "Api work: its role Invoke does not allow lambda:InvokeFunction"},
		{`function:a_*"`, `function:*"`, "outside of the stack: Invoke"},
		{`"TargetOriginId":"Url"`, `"TargetOriginId":"Uri"`, "goes to the origin Uri"},
		{`"MaxTTL":1`, `"MaxTTL":0`, "the longest time to live is zero"},
		{`"AutoPublish":true`, `"AutoPublish":false`, "Door is not published"},
		{`[{"Ref":"Api"},".execute-api."`, `["abc",".execute-api."`, "the origin Api is abc.execute-api"},
		{`"PathPattern":"/sync","TargetOriginId":"Url"`, `"PathPattern":"/sync","TargetOriginId":"Api"`, "nothing goes to the origin Url"},
		{`"URL":{"Value":{"Fn::GetAtt":["Distribution","DomainName"]}}`, `"URL":{"Value":{"Ref":"Nothing"}}`, "output URL"},
	} {
		text := strings.Replace(good, tt.was, tt.is, 1)
		if text == good || !json.Valid([]byte(text)) {
			t.Errorf("%s does not make another stack of it", tt.is)
			continue
		}
		found := Find(read(t, text))
		if !slices.ContainsFunc(found, func(m string) bool { return strings.Contains(m, tt.want) }) {
			t.Errorf("%s: found\n%s\nand not %q", tt.is, strings.Join(found, "\n"), tt.want)
		}
	}
}
