package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/virga-im/virga/tests/rehearsal/httpapi"
)

// gateway is an HTTP API, faults included: it decodes the path before it looks
// for a route, and a ? that appears then cuts the path off.
type gateway map[string]map[string]string // path → method → function

// gatewayOf reads a gateway from a template, through the integrations down to
// the name of the function in the ARN.
func gatewayOf(t *testing.T, tm *stacked, id string) gateway {
	t.Helper()
	body := at(t, tm.one(t, id), "Body")
	g := gateway{}
	arn := regexp.MustCompile(`^arn:aws:apigateway:[^:]+:lambda:path/2015-03-31/functions/arn:aws:lambda:[^:]+:\d+:function:` + tm.opts.stack + `_(\w+)/invocations$`)
	for path, ops := range at(t, body, "paths").(map[string]any) {
		g[path] = map[string]string{}
		for method, op := range ops.(map[string]any) {
			ref := at(t, op, "x-amazon-apigateway-integration", "$ref").(string)
			key := strings.TrimPrefix(ref, "#/components/x-amazon-apigateway-integrations/")
			integration := at(t, body, "components", "x-amazon-apigateway-integrations", key)
			if subtype, ok := at(t, integration, "integrationSubtype").(string); ok {
				g[path][strings.ToUpper(method)] = subtype
				continue
			}
			uri, _ := at(t, integration, "uri").(string)
			m := arn.FindStringSubmatch(uri)
			if m == nil {
				t.Fatalf("%s %s goes to %q", method, path, uri)
			}
			name := m[1]
			if _, ok := tm.Resources[functionID(name)]; !ok {
				t.Errorf("%s %s goes to %s, which does not exist", method, path, name)
			}
			g[path][strings.ToUpper(method)] = name
		}
	}
	return g
}

func (g gateway) count() int {
	n := 0
	for _, ops := range g {
		n += len(ops)
	}
	return n
}

// find returns the function that a request reaches.
func (g gateway) find(method, path string) string {
	path = httpapi.Seen(path)
	best, name := "", g["/$default"]["X-AMAZON-APIGATEWAY-ANY-METHOD"]
	for template, ops := range g {
		to, ok := ops[method]
		if !ok {
			to, ok = ops["X-AMAZON-APIGATEWAY-ANY-METHOD"]
		}
		if shape := httpapi.Fit(template, path); ok && shape > best {
			best, name = shape, to
		}
	}
	return name
}

// fill puts a value in the place of every parameter.
func fill(path, value string) string {
	return regexp.MustCompile(`\{[^}]+\}`).ReplaceAllLiteralString(path, value)
}
