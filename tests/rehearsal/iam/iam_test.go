package iam

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func parse(t *testing.T, statements string) []Statement {
	t.Helper()
	all, err := parseText(statements)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func parseText(statements string) ([]Statement, error) {
	var document any
	if err := json.Unmarshal([]byte(`{"Version":"2012-10-17","Statement":`+statements+`}`), &document); err != nil {
		return nil, err
	}
	return ParseDocument(document)
}

const (
	rooms = "arn:aws:dynamodb:us-east-1:123456789012:table/a_rooms"
	users = "arn:aws:dynamodb:us-east-1:123456789012:table/a_users"
	media = "arn:aws:s3:::a-media"
)

func TestStatementsDecide(t *testing.T) {
	l := NewLedger(Role{ARN: "role/r", Statements: parse(t, `[
		{"Effect":"Allow","Action":["dynamodb:GetItem","dynamodb:Query"],"Resource":["`+rooms+`","`+users+`"]},
		{"Effect":"Allow","Action":"sqs:*","Resource":"arn:aws:sqs:us-east-1:123456789012:a_wait_*"},
		{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["`+media+`/local/*"]},
		{"Effect":"Allow","Action":["s3:ListBucket"],"Resource":["`+media+`"],"Condition":{"StringLikeIfExists":{"s3:prefix":["local/*"]}}},
		{"Effect":"Allow","Action":["s3:ListBucketVersions"],"Resource":["`+media+`"],"Condition":{"StringLike":{"s3:prefix":["local/*"]}}},
		{"Effect":"Allow","Action":["logs:PutLogEvents"],"Resource":["arn:aws:logs:us-east-1:123456789012:log-group:/virga/a/sync:*"]},
		{"Effect":"Allow","Action":"lambda:Invoke?unction","Resource":"*"},
		{"Effect":"Deny","Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:us-east-1:123456789012:function:a_secret"}
	]`)})
	for _, tt := range []struct {
		action, resource, prefix string
		want                     bool
	}{
		{"dynamodb:GetItem", rooms, "", true},
		{"dynamodb:query", users, "", true},
		{"dynamodb:PutItem", rooms, "", false},
		{"dynamodb:GetItem", rooms + "x", "", false},
		{"dynamodb:GetItem", strings.ToUpper(rooms), "", false},
		{"sqs:SendMessage", "arn:aws:sqs:us-east-1:123456789012:a_wait_1a", "", true},
		{"sqs:SendMessage", "arn:aws:sqs:us-east-1:123456789012:a_work", "", false},
		{"sqs:SendMessage", "arn:aws:sqs:eu-west-1:123456789012:a_wait_1a", "", false},
		{"s3:GetObject", media + "/local/x/y", "", true},
		{"s3:GetObject", media + "/remote/x", "", false},
		{"s3:ListBucket", media, "", true},
		{"s3:ListBucket", media, "local/x", true},
		{"s3:ListBucket", media, "remote/", false},
		{"s3:ListBucketVersions", media, "", false},
		{"s3:ListBucketVersions", media, "local/", true},
		{"logs:PutLogEvents", "arn:aws:logs:us-east-1:123456789012:log-group:/virga/a/sync:log-stream:x", "", true},
		{"logs:PutLogEvents", "arn:aws:logs:us-east-1:123456789012:log-group:/virga/a/sync2:log-stream:x", "", false},
		{"lambda:InvokeFunction", "arn:aws:lambda:us-east-1:123456789012:function:a_sync", "", true},
		{"lambda:InvokeFunction", "arn:aws:lambda:us-east-1:123456789012:function:a_secret", "", false},
	} {
		r := Request{Action: tt.action, Resource: tt.resource, Context: map[string]string{}}
		if tt.prefix != "" {
			r.Context["s3:prefix"] = tt.prefix
		}
		err := l.Check("role/r", "arn:aws:sts::123456789012:assumed-role/r/f", r)
		var denied *Denied
		if (err == nil) != tt.want || err != nil && !errors.As(err, &denied) {
			t.Errorf("%s on %s with the prefix %q: %v", tt.action, tt.resource, tt.prefix, err)
		}
	}
	if err := l.Check("role/other", "x", Request{Action: "dynamodb:GetItem", Resource: rooms}); err == nil {
		t.Error("a role that is not there may read")
	}
}

func TestDenialsSayWhatAWSSays(t *testing.T) {
	l := NewLedger(Role{ARN: "role/r"})
	err := l.Check("role/r", "arn:aws:sts::123456789012:assumed-role/r/a_sync", Request{Action: "dynamodb:PutItem", Resource: rooms})
	want := "User: arn:aws:sts::123456789012:assumed-role/r/a_sync is not authorized to perform: dynamodb:PutItem on resource: " + rooms +
		" because no identity-based policy allows the dynamodb:PutItem action"
	if err == nil || err.Error() != want || len(l.Denials()) != 1 {
		t.Errorf("%v, %d denials", err, len(l.Denials()))
	}
}

func TestWhatIsNotKnownIsAnError(t *testing.T) {
	for _, tt := range []struct{ statement, want string }{
		{`{"Effect":"Allow","NotAction":"a:b","Resource":"*"}`, "NotAction"},
		{`{"Effect":"Allow","Action":"a:b","Resource":"*","Principal":"*"}`, "Principal"},
		{`{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"::1"}}}`, "IpAddress"},
		{`{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":"U#*"}}}`, "ForAllValues"},
		{`{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"StringLike":{"s3:prefix":1}}}`, "no text"},
		{`{"Effect":"allow","Action":"a:b","Resource":"*"}`, "allow"},
		{`{"Action":"a:b","Resource":"*"}`, "Effect"},
		{`{"Effect":"Allow","Action":"a:b"}`, "Resource"},
		{`{"Effect":"Allow","Action":"a","Resource":"*"}`, "no action"},
		{`{"Effect":"Allow","Action":"a:b","Resource":"a_rooms"}`, "no ARN"},
		{`{"Effect":"Allow","Action":"a:b","Resource":{"Ref":"Table"}}`, "no text"},
		{`"Allow"`, "object"},
	} {
		if _, err := parseText(tt.statement); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error that names %s", tt.statement, err, tt.want)
		}
	}
}

func TestWhatNobodyNeedsIsListed(t *testing.T) {
	l := NewLedger(Role{ARN: "arn:aws:iam::1:role/r", Statements: parse(t, `[
		{"Effect":"Allow","Action":["dynamodb:GetItem","dynamodb:Query"],"Resource":["`+rooms+`","`+users+`"]},
		{"Effect":"Allow","Action":["dynamodb:GetItem"],"Resource":["`+rooms+`"]}
	]`)})
	for range 3 {
		if err := l.Check("arn:aws:iam::1:role/r", "p", Request{Action: "dynamodb:GetItem", Resource: rooms}); err != nil {
			t.Fatal(err)
		}
	}
	line := func(uses []Use) (lines []string) {
		for _, u := range uses {
			lines = append(lines, strings.ReplaceAll(u.String(), "arn:aws:dynamodb:us-east-1:123456789012:table/", ""))
		}
		return lines
	}
	if got, want := line(l.Unused()), []string{
		"r statement 1: dynamodb:Query on a_rooms: 0 hits", "r statement 1: dynamodb:GetItem on a_users: 0 hits",
		"r statement 1: dynamodb:Query on a_users: 0 hits", "r statement 2: dynamodb:GetItem on a_rooms: 0 hits",
	}; !slices.Equal(got, want) {
		t.Errorf("unused: %q", got)
	}
	if got, want := line(l.UnusedResources()), []string{
		"r statement 1: dynamodb:GetItem dynamodb:Query on a_users: 0 hits", "r statement 2: dynamodb:GetItem on a_rooms: 0 hits",
	}; !slices.Equal(got, want) {
		t.Errorf("unused resources: %q", got)
	}
	if got, want := line(l.UnusedActions()), []string{"r statement 1: dynamodb:Query on a_rooms: 0 hits"}; !slices.Equal(got, want) {
		t.Errorf("unused actions: %q", got)
	}
	if u := l.Uses()[0]; u.Hits != 3 {
		t.Errorf("uses begin with %s", u)
	}
}

func TestWildcards(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "", true}, {"", "", true}, {"", "a", false}, {"a*", "a", true}, {"a*b", "axxbxb", true}, {"a*b", "axxbx", false},
		{"?", "a", true}, {"?", "", false}, {"a?c*", "abc", true}, {"**", "x", true}, {"*a?", "aab", true}, {"*a?", "ba", false},
	} {
		if got := wild(tt.pattern, tt.text); got != tt.want {
			t.Errorf("%q and %q: %v", tt.pattern, tt.text, got)
		}
	}
	if wildARN("arn:aws:s3:*:x", "arn:aws:s3:::x") || wildARN("arn:aws:sqs:*:a_*", "arn:aws:sqs:us-east-1:123456789012:a_b") {
		t.Error("a wildcard reaches over a colon")
	}
}
