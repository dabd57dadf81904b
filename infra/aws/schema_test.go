package main

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/route"
)

func TestSchemasSayWhatJSONSays(t *testing.T) {
	type leaf struct {
		Self *leaf `json:"self,omitempty"`
	}
	type embedded struct {
		Shared string `json:"shared"`
	}
	type request struct {
		embedded
		RoomID string          `path:"roomId"`
		Limit  int             `query:"limit"`
		Name   string          `json:"name" required:"true"`
		Tags   []string        `json:"tags"`
		Any    json.RawMessage `json:"any"`
		ByUser map[string]leaf `json:"by_user"`
		At     *time.Time      `json:"at"`
		Count  int64           `json:"count"`
		Hidden string          `json:"-"`
	}
	s := newSchemas()
	ref := s.of(reflect.TypeFor[request]())
	if ref["$ref"] != "#/components/schemas/request" {
		t.Fatalf("a named type is %v", ref)
	}
	got, _ := json.Marshal(s.done)
	const want = `{"leaf":{"properties":{"self":{"$ref":"#/components/schemas/leaf"}},"type":"object"},` +
		`"request":{"properties":{"any":{},"at":{"type":"string"},"by_user":{"additionalProperties":{"$ref":"#/components/schemas/leaf"},"type":"object"},` +
		`"count":{"type":"integer"},"name":{"type":"string"},"shared":{"type":"string"},"tags":{"items":{"type":"string"},"type":"array"}},"required":["name"],"type":"object"}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestOpenAPIDescribesRoutes(t *testing.T) {
	functions, err := plan(table{routes: []route.Route{{
		Name: "sendMessage", Pattern: "PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", Also: route.R0.And("/_matrix/client/unstable/send/{rest...}"),
		Handler: standInHandler,
	}, {Name: "getPushRules", Pattern: "GET /_matrix/client/v3/pushrules/", Handler: standInHandler}}}, "route")
	if err != nil {
		t.Fatal(err)
	}
	body, err := openAPI("x", functions, []rule{{"/_matrix/client/r0", "/_matrix/client/v3"}}, func(f *function) any { return f.name }, "role")
	if err != nil {
		t.Fatal(err)
	}
	// As the gateway gets it.
	text, _ := json.Marshal(body)
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	op := at(t, doc, "paths", "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", "put")
	if at(t, op, "operationId") != "sendMessage" || at(t, op, "parameters", 3, "name") != "limit" ||
		at(t, op, "responses", "200", "content", "application/json", "schema", "$ref") != "#/components/schemas/standInResponse" ||
		at(t, op, "requestBody", "content", "application/json", "schema", "$ref") != "#/components/schemas/standInRequest" {
		t.Errorf("the operation is %v", op)
	}
	if at(t, doc, "paths", "/_matrix/client/unstable/send/{rest+}", "put", "x-amazon-apigateway-integration") == nil {
		t.Error("the unstable spelling is not a route")
	}
	if at(t, doc, "paths", "/_matrix/client/v3/pushrules/", "get") == nil {
		t.Error("the path that ends in a slash is not a route")
	}
	if n := len(at(t, doc, "paths").(map[string]any)); n != 4 {
		t.Errorf("%d paths, want three and $default", n)
	}
	if at(t, doc, "paths", "/$default", "x-amazon-apigateway-any-method", "isDefaultRoute") != true {
		t.Error("nothing answers the rest")
	}
}
