package template

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// stack writes a folder as CDK does, and reads it.
func stack(t *testing.T, template string) *Template {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"manifest.json": `{"version": "1", "artifacts": {
			"a.assets": {"type": "cdk:asset-manifest", "properties": {"file": "a.assets.json"}},
			"a": {"type": "aws:cloudformation:stack", "properties": {"templateFile": "a.template.json", "tags": {"stage": "dev"}}},
			"report": {"type": "cdk:feature-flag-report", "properties": {}}}}`,
		"a.assets.json":   `{"files": {"f00": {"source": {"path": "asset.f00", "packaging": "zip"}, "destinations": {"d": {"bucketName": "b", "objectKey": "f00.zip"}}}}}`,
		"a.template.json": template,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tm, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if path, err := tm.Asset("f00.zip"); err != nil || path != filepath.Join(dir, "asset.f00") {
		t.Errorf("the asset is %s, %v", path, err)
	}
	return tm
}

const resources = `{"Resources": {
	"Table": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "a_rooms"}},
	"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "a_work"}},
	"Media": {"Type": "AWS::S3::Bucket"},
	"Secret": {"Type": "Custom::Secret", "Properties": {"ServiceToken": "x"}},
	"Api": {"Type": "AWS::ApiGatewayV2::Api"},
	"AdminApi": {"Type": "AWS::ApiGatewayV2::Api"}
}, "Outputs": {"Where": {"Value": {"Ref": "Media"}}}}`

func TestIntrinsicFunctionsGetTheirValues(t *testing.T) {
	tm := stack(t, resources)
	tm.Value = func(id, attribute string) (any, bool) {
		return "hush", id == "Secret" && attribute == "Secret"
	}
	for _, tt := range []struct{ in, want string }{
		{`{"Ref": "AWS::AccountId"}`, `"123456789012"`},
		{`{"Ref": "Table"}`, `"a_rooms"`},
		{`{"Ref": "Queue"}`, `"https://sqs.us-east-1.amazonaws.com/123456789012/a_work"`},
		{`{"Ref": "Media"}`, `"a-media-1a2b3c4d5e6f"`},
		{`{"Fn::GetAtt": ["Table", "Arn"]}`, `"arn:aws:dynamodb:us-east-1:123456789012:table/a_rooms"`},
		{`{"Fn::GetAtt": "Queue.Arn"}`, `"arn:aws:sqs:us-east-1:123456789012:a_work"`},
		{`{"Fn::GetAtt": ["Secret", "Secret"]}`, `"hush"`},
		{`{"Fn::Join": ["-", ["x", {"Ref": "AWS::Region"}, 1]]}`, `"x-us-east-1-1"`},
		{`{"Fn::Select": [2, {"Fn::Split": ["/", {"Fn::Sub": "https://${AWS::Region}.x/${Table}"}]}]}`, `"us-east-1.x"`},
		{`{"Fn::Select": ["0", ["a", "b"]]}`, `"a"`},
		{`{"Fn::Sub": "${Table} ${Queue.Arn} ${!Table}"}`, `"a_rooms arn:aws:sqs:us-east-1:123456789012:a_work ${Table}"`},
		{`{"Fn::Sub": ["${a}${AWS::Partition}", {"a": {"Ref": "Table"}}]}`, `"a_roomsaws"`},
		{`{"a": [{"Ref": "AWS::NoValue"}, 1], "b": {"Ref": "AWS::NoValue"}}`, `{"a": [1]}`},
		{`{"$ref": "#/components", "Ref": "Table"}`, `{"$ref": "#/components", "Ref": "Table"}`},
	} {
		var in, want any
		if err := json.Unmarshal([]byte(tt.in), &in); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		if got, err := tm.Resolve(in); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, %v, want %s", tt.in, got, err, tt.want)
		}
	}
}

func TestWhatIsNotKnownIsNamed(t *testing.T) {
	tm := stack(t, resources)
	for _, tt := range []struct{ in, want string }{
		{`{"Fn::ImportValue": "x"}`, "Fn::ImportValue"},
		{`{"Fn::If": ["a", 1, 2]}`, "Fn::If"},
		{`{"Ref": "Nothing"}`, "Nothing"},
		{`{"Fn::GetAtt": ["Secret", "Secret"]}`, "Secret of Secret"},
		{`{"Fn::GetAtt": ["Table", "Colour"]}`, "Colour of Table"},
		{`{"Fn::Sub": "${Nothing}"}`, "Nothing"},
		{`{"Fn::Join": ["-", "x"]}`, "Fn::Join"},
		{`{"Fn::Select": [3, ["a"]]}`, "Fn::Select"},
	} {
		var in any
		if err := json.Unmarshal([]byte(tt.in), &in); err != nil {
			t.Fatal(err)
		}
		if got, err := tm.Resolve([]any{in}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s is %v, %v, want an error that names %s", tt.in, got, err, tt.want)
		}
	}
	if _, err := tm.Asset("f01.zip"); err == nil {
		t.Error("an asset that is not there is found")
	}
	if _, err := tm.Properties("Nothing"); err == nil {
		t.Error("a resource that is not there has properties")
	}
}

func TestResourcesAreFoundByTypeAndName(t *testing.T) {
	tm := stack(t, resources)
	if got := tm.IDs("AWS::ApiGatewayV2::Api"); !reflect.DeepEqual(got, []string{"AdminApi", "Api"}) {
		t.Errorf("the APIs are %v", got)
	}
	if tm.Physical("Api") == tm.Physical("AdminApi") {
		t.Error("two APIs have the same id")
	}
	if id, ok := tm.LogicalID("AWS::SQS::Queue", Name("arn:aws:sqs:us-east-1:123456789012:a_work")); !ok || id != "Queue" {
		t.Errorf("the queue a_work is %s", id)
	}
	if _, ok := tm.LogicalID("AWS::SQS::Queue", "a_rooms"); ok {
		t.Error("a table is a queue")
	}
	if tm.Tags["stage"] != "dev" || tm.Bytes != len(resources) || tm.Outputs["Where"].Value == nil {
		t.Errorf("tags %v, %d bytes, outputs %v", tm.Tags, tm.Bytes, tm.Outputs)
	}
}
