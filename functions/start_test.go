package main

import (
	"io"
	"strings"
	"testing"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/aws"
)

// environment is that of a function without anything of AWS: who asked for it
// would fail.
func environment(t testing.TB) {
	t.Helper()
	for name, value := range map[string]string{
		"VIRGA_SERVER_NAME": "example.org", aws.StackEnv: "test", aws.SecretEnv: "secret",
		"AWS_REGION": "", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "",
	} {
		t.Setenv(name, value)
	}
}

// Whatever a function is for, it starts without a client of any service.
func TestNoFunctionConnectsToAnythingAtItsStart(t *testing.T) {
	environment(t)
	handlers := []string{handlerAll, handlerUnknown}
	for _, r := range api.Routes() {
		handlers = append(handlers, r.Name)
	}
	for _, w := range api.Workers() {
		handlers = append(handlers, w.Name)
	}
	for _, handler := range handlers {
		if _, err := program(handler, io.Discard); err != nil {
			t.Errorf("%s: %v", handler, err)
		}
	}
	// One that reads nothing answers, and one that reads says what is missing.
	for _, tt := range []struct{ handler, path, want string }{
		{"getVersions", "/_matrix/client/versions", `"statusCode":200`},
		{"getProfileField", "/_matrix/client/v3/profile/@alice:example.org/displayname", `"statusCode":500`},
	} {
		run, err := program(tt.handler, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		out, err := run(t.Context(), []byte(`{"headers":{"x-virga-secret":"secret","x-virga-uri":"`+tt.path+`"},
			"requestContext":{"http":{"method":"GET","sourceIp":"203.0.113.7"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(out)
		if err != nil || !strings.Contains(string(answer), tt.want) {
			t.Errorf("%s: %s, %v, want %s", tt.handler, answer, err, tt.want)
		}
	}
}

// BenchmarkInit is what a function does between the start of its process and its
// first event, after the packages are initialised (GODEBUG=inittrace=1 shows
// those).
func BenchmarkInit(b *testing.B) {
	environment(b)
	for b.Loop() {
		if _, err := program("sync", io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
