package iam

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/virga-im/virga/tests/rehearsal/template"
)

// small is a stack with two roles and three tables.
func small(t *testing.T) *template.Template {
	t.Helper()
	tm := &template.Template{Stack: "a", Pseudo: map[string]string{
		"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "123456789012", "AWS::URLSuffix": "amazonaws.com",
	}}
	role := func(trusts, statements string) string {
		return `{"Type":"AWS::IAM::Role","Properties":{
			"AssumeRolePolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"` + trusts + `"}}]},
			"Policies":[{"PolicyName":"uses","PolicyDocument":{"Version":"2012-10-17","Statement":` + statements + `}}]}}`
	}
	if err := json.Unmarshal([]byte(`{
		"Rooms":{"Type":"AWS::DynamoDB::Table","Properties":{"TableName":"a_rooms"}},
		"Users":{"Type":"AWS::DynamoDB::Table","Properties":{"TableName":"a_users"}},
		"Media":{"Type":"AWS::DynamoDB::Table","Properties":{"TableName":"a_media"}},
		"Bucket":{"Type":"AWS::S3::Bucket"},
		"Logs":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"/virga/a/sync"}},
		"Reader":`+role("lambda.amazonaws.com", `[
			{"Effect":"Allow","Action":["dynamodb:GetItem","dynamodb:Query"],"Resource":[{"Fn::GetAtt":["Rooms","Arn"]},{"Fn::GetAtt":["Users","Arn"]}]},
			{"Effect":"Allow","Action":["s3:GetObject"],"Resource":[{"Fn::Join":["",[{"Fn::GetAtt":["Bucket","Arn"]},"/local/*"]]}]},
			{"Effect":"Allow","Action":["logs:PutLogEvents"],"Resource":[{"Fn::GetAtt":["Logs","Arn"]}]}]`)+`,
		"Invoke":`+role("apigateway.amazonaws.com", `[
			{"Effect":"Allow","Action":["lambda:InvokeFunction"],"Resource":[{"Fn::Sub":"arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:a_*"}]}]`)+`
	}`), &tm.Resources); err != nil {
		t.Fatal(err)
	}
	return tm
}

// run asks for everything that the small stack allows.
func run(t *testing.T, tm *template.Template) *Ledger {
	t.Helper()
	roles, err := Roles(tm)
	if err != nil {
		t.Fatal(err)
	}
	l := NewLedger(roles...)
	reader, invoke := roles[1].ARN, roles[0].ARN
	if roles[0].ID != "Invoke" || !reflect.DeepEqual(roles[0].Trusts, []string{"apigateway.amazonaws.com"}) {
		t.Errorf("the first role is %+v", roles[0])
	}
	for _, r := range []struct{ role, action, resource string }{
		{reader, "dynamodb:GetItem", rooms}, {reader, "dynamodb:Query", users}, {reader, "s3:GetObject", "arn:aws:s3:::a-bucket-1a2b3c4d5e6f/local/x"},
		{reader, "logs:PutLogEvents", "arn:aws:logs:us-east-1:123456789012:log-group:/virga/a/sync:log-stream:x"},
		{invoke, "lambda:InvokeFunction", "arn:aws:lambda:us-east-1:123456789012:function:a_sync"},
	} {
		if err := l.Check(r.role, "p", Request{Action: r.action, Resource: r.resource}); err != nil {
			t.Error(err)
		}
	}
	return l
}

func TestEveryMutationIsNoticed(t *testing.T) {
	tm := small(t)
	l := run(t, tm)
	before, err := json.Marshal(tm.Resources)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := Judge(tm, l.Asked()); err != nil || f.Count() != 0 {
		t.Fatalf("without a mistake: %+v, %v", f, err)
	}
	for _, m := range Mutations {
		for seed := range uint64(20) {
			mutant, what, err := m.Apply(tm, l, seed)
			if err != nil {
				t.Fatalf("%s: %v", m.Name, err)
			}
			if reflect.DeepEqual(mutant.Resources, tm.Resources) {
				t.Errorf("%s: %s: nothing is changed", m.Name, what)
			}
			if f, err := Judge(mutant, l.Asked()); err != nil || f.Count() == 0 {
				t.Errorf("%s: %s: nobody notices, %v", m.Name, what, err)
			}
		}
	}
	if after, err := json.Marshal(tm.Resources); err != nil || string(after) != string(before) {
		t.Errorf("the template itself is changed, %v", err)
	}
}

func TestWhatIsOutsideOfTheStackIsListed(t *testing.T) {
	for resource, outside := range map[string]bool{
		`"*"`: true,
		`"arn:aws:dynamodb:us-east-1:123456789012:table/*"`:                              true,
		`"arn:aws:dynamodb:us-east-1:123456789012:table/a*"`:                             true,
		`"arn:aws:dynamodb:us-east-1:123456789012:table/a_*"`:                            false,
		`"arn:aws:dynamodb:us-east-1:123456789012:table/a-test_rooms"`:                   true,
		`"arn:aws:dynamodb:us-east-1:210987654321:table/a_rooms"`:                        true,
		`"arn:aws:sqs:us-east-1:123456789012:a_wait_*"`:                                  false,
		`"arn:aws:sqs:*:123456789012:a_wait_*"`:                                          true,
		`"arn:aws:cloudformation:us-east-1:123456789012:stack/a/*"`:                      false,
		`"arn:aws:cloudformation:us-east-1:123456789012:stack/a-test/*"`:                 true,
		`"arn:aws:lambda:us-east-1:123456789012:function:*"`:                             true,
		`{"Fn::GetAtt":["Bucket","Arn"]}`:                                                false,
		`{"Fn::Join":["",[{"Fn::GetAtt":["Bucket","Arn"]},"*"]]}`:                        true,
		`"arn:aws:s3:::*/local/*"`:                                                       true,
		`"arn:aws:logs:us-east-1:123456789012:log-group:/virga/*"`:                       true,
		`{"Fn::Join":["",[{"Fn::GetAtt":["Rooms","Arn"]},"/stream/2026"]]}`:              false,
		`"arn:aws:dynamodb:us-east-1:123456789012:table/b_rooms/stream/x"`:               true,
		`"arn:aws:logs:us-east-1:123456789012:log-group:/virga/a/sync:log-stream:x"`:     false,
		`"arn:aws:logs:us-east-1:123456789012:log-group:/virga/a/sync-x:log-stream:abc"`: true,
	} {
		tm := small(t)
		var r any
		if err := json.Unmarshal([]byte(resource), &r); err != nil {
			t.Fatal(err)
		}
		statements := tm.Resources["Reader"].Properties["Policies"].([]any)[0].(map[string]any)["PolicyDocument"].(map[string]any)["Statement"].([]any)
		statements[0].(map[string]any)["Resource"] = []any{r}
		got, err := Outside(tm)
		if err != nil || (len(got) == 1) != outside {
			t.Errorf("%s: %q, %v", resource, got, err)
		}
		if outside && (len(got) != 1 || !strings.HasPrefix(got[0], "Reader statement 1: dynamodb:GetItem dynamodb:Query on ")) {
			t.Errorf("%s is told as %q", resource, got)
		}
	}
}
