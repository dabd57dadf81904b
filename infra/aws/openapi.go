package main

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/virga-im/virga/shared/route"
)

// openAPI builds the definition of a gateway: a route for each pattern that the
// front door does not rewrite, and one integration for each function, shared by
// all the spellings of its routes. The types of requests and responses are in it
// for the people and tools that read it; the gateway takes no notice.
//
// uri and credentials are what an integration needs to invoke a function.
func openAPI(title string, functions []*function, rules []rule, uri func(*function) any, credentials any) (map[string]any, error) {
	paths := map[string]map[string]any{}
	integrations := map[string]any{}
	schemas := newSchemas()
	integrate := func(f *function) map[string]any {
		integrations[f.name] = map[string]any{
			"type": "AWS_PROXY", "httpMethod": "POST", "uri": uri(f), "credentials": credentials,
			"payloadFormatVersion": "2.0", "connectionType": "INTERNET", "timeoutInMillis": 30000,
		}
		return map[string]any{"$ref": "#/components/x-amazon-apigateway-integrations/" + f.name}
	}
	for _, f := range functions {
		if f.handler == handlerUnknown {
			// HTTP APIs have no answers of their own that could be changed, so
			// what they do not know goes to a function that does.
			paths["/$default"] = map[string]any{"x-amazon-apigateway-any-method": map[string]any{
				"isDefaultRoute": true, "responses": map[string]any{}, "x-amazon-apigateway-integration": integrate(f),
			}}
			continue
		}
		for _, r := range f.routes {
			for i, pattern := range r.Patterns() {
				if rewritten(rules, pattern) {
					continue
				}
				method, path, err := gatewayPath(pattern)
				if err != nil {
					return nil, fmt.Errorf("route %s: %w", r.Name, err)
				}
				op := map[string]any{"x-amazon-apigateway-integration": integrate(f)}
				if i == 0 {
					describe(op, r, path, schemas)
				} else {
					op["responses"] = map[string]any{"default": map[string]any{"description": "as " + r.Name}}
				}
				if paths[path] == nil {
					paths[path] = map[string]any{}
				}
				if paths[path][method] != nil {
					return nil, fmt.Errorf("route %s: another route answers %s %s", r.Name, method, path)
				}
				paths[path][method] = op
			}
		}
	}
	components := map[string]any{"x-amazon-apigateway-integrations": integrations}
	if len(schemas.done) > 0 {
		components["schemas"] = schemas.done
	}
	return map[string]any{
		"openapi": "3.0.1", "info": map[string]any{"title": title, "version": "1"},
		"paths": paths, "components": components,
	}, nil
}

var remainder = regexp.MustCompile(`\{([^}]+)\.\.\.\}`)

// gatewayPath writes a pattern of ServeMux as OpenAPI does.
func gatewayPath(pattern string) (method, path string, err error) {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok || !strings.HasPrefix(path, "/") {
		return "", "", fmt.Errorf("the pattern %q has no method, or a host", pattern)
	}
	path = strings.TrimSuffix(path, "{$}")
	return strings.ToLower(method), remainder.ReplaceAllString(path, "{$1+}"), nil
}

var parameter = regexp.MustCompile(`\{([^}+]+)\+?\}`)

// describe adds what a reader wants to know of an operation.
func describe(op map[string]any, r route.Route, path string, schemas *schemas) {
	op["operationId"] = r.Name
	req, resp := r.Handler.Schema()
	var params []any
	for _, m := range parameter.FindAllStringSubmatch(path, -1) {
		params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, f := range fieldsOf(req) {
		if name := f.Tag.Get("query"); name != "" {
			params = append(params, map[string]any{
				"name": name, "in": "query", "required": f.Tag.Get("required") == "true", "schema": schemas.of(f.Type),
			})
		}
	}
	if params != nil {
		op["parameters"] = params
	}
	if r.Method() != "GET" && hasBody(req) {
		op["requestBody"] = map[string]any{"content": jsonOf(schemas.of(req))}
	}
	ok := map[string]any{"description": "the answer of " + r.Name}
	if resp != nil {
		ok["content"] = jsonOf(schemas.of(resp))
	}
	op["responses"] = map[string]any{"200": ok}
}

func jsonOf(schema any) map[string]any {
	return map[string]any{"application/json": map[string]any{"schema": schema}}
}

func hasBody(req reflect.Type) bool {
	for _, f := range fieldsOf(req) {
		if fromBody(f) {
			return true
		}
	}
	return false
}
