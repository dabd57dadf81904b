package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/userlog"
)

// The commands act on the tables of the stack, and what they make can be used by the
// functions.
func TestCommandsOnAStack(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	formation := httptest.NewServer(http.HandlerFunc(describe))
	defer formation.Close()
	tables := awstest.DynamoDB(t)
	t.Setenv("AWS_ENDPOINT_URL", formation.URL)
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", tables)

	do := func(in string, args ...string) (string, error) {
		var out, said bytes.Buffer
		err := run(t.Context(), append([]string{"-stack", awstest.Stack}, args...), strings.NewReader(in), &out, &said)
		return out.String(), err
	}
	must := func(in string, args ...string) string {
		t.Helper()
		out, err := do(in, args...)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		return strings.TrimSpace(out)
	}
	db := aws.NewDB(awstest.Options(tables))
	service := accounts.New(accounts.Options{
		DB: db, Log: &userlog.Service{DB: db, Clock: clock.System{}, Waker: aws.HoldInLambda(clock.System{})},
		ServerName: "example.org", Registration: accounts.RegistrationToken, NoLimits: true,
	})
	logIn := func(user, password string) (token string, is accounts.Session) {
		t.Helper()
		c, err := service.LoginWithPassword(t.Context(), accounts.Login{User: user, Password: password})
		if err != nil {
			t.Fatal(err)
		}
		if is, err = service.Authenticate(t.Context(), c.AccessToken); err != nil {
			t.Fatal(err)
		}
		return c.AccessToken, is
	}

	must("correct horse\nignored\n", "create-user", "-admin", "-display-name", "Alice L.", "alice")
	if _, is := logIn("alice", "correct horse"); !is.Admin || is.UserID != "@alice:example.org" {
		t.Errorf("%+v", is)
	}
	must("of bob\n", "create-user", "bob")
	token, is := logIn("bob", "of bob")
	if is.Admin {
		t.Error("bob is an administrator")
	}
	must("", "promote", "@bob:example.org")
	if is, err := service.Authenticate(t.Context(), token); err != nil || !is.Admin {
		t.Errorf("a session from before: %+v, %v", is, err)
	}
	must("", "demote", "bob")
	must("another\n", "reset-password", "-keep-sessions", "bob")
	if is, err := service.Authenticate(t.Context(), token); err != nil || is.Admin {
		t.Errorf("%+v, %v", is, err)
	}
	logIn("bob", "another")
	must("", "log-out", "bob")
	if _, err := service.Authenticate(t.Context(), token); err == nil {
		t.Error("bob is still logged in")
	}
	friends := must("", "registration-token", "-uses", "5", "-for", "168h")
	if ok, err := service.RegistrationTokenValid(t.Context(), friends); err != nil || !ok {
		t.Errorf("%q is valid: %v, %v", friends, ok, err)
	}
	must(friends+"\n", "revoke-token")
	if ok, err := service.RegistrationTokenValid(t.Context(), friends); err != nil || ok {
		t.Errorf("%q is valid: %v, %v", friends, ok, err)
	}

	for _, tt := range []struct {
		want string
		args []string
	}{
		{"say what to do", nil},
		{"no command", []string{"delete-user", "bob"}},
		{"needs 1 name", []string{"promote"}},
		{"no flag -admin", []string{"promote", "-admin", "bob"}},
		{"no user @carol:example.org", []string{"promote", "carol"}},
		{"not a user of this server", []string{"promote", "@bob:elsewhere.org"}},
		{"not a user of example.org", []string{"create-user", "@bob:elsewhere.org"}},
		{"taken", []string{"create-user", "bob"}},
		{"password", []string{"create-user", "dora", "password"}},
	} {
		if _, err := do("x\n", tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) && tt.want != "password" {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.want)
		}
	}
	if _, err := do("", "create-user", "dora"); err == nil {
		t.Error("an account without a password")
	}
	if err := run(t.Context(), []string{"-stack", "nosuch", "promote", "bob"}, nil, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "there is no stack nosuch in us-east-1") {
		t.Error(err)
	}
}

// describe answers as CloudFormation does.
func describe(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	q, _ := url.ParseQuery(string(body))
	if q.Get("StackName") != awstest.Stack {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code><Message>Stack with id %s does not exist</Message></Error></ErrorResponse>`, q.Get("StackName"))
		return
	}
	fmt.Fprint(w, `<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackStatus>CREATE_COMPLETE</StackStatus>
<Tags><member><Key>stage</Key><Value>prod</Value></member><member><Key>server</Key><Value>example.org</Value></member></Tags>
<Outputs><member><OutputKey>URL</OutputKey><OutputValue>https://d1.cloudfront.net</OutputValue></member></Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>`)
}
