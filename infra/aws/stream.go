package main

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/jsii-runtime-go"
)

// Routes that stream (route.Route.Streams) are reached past the gateway, which
// takes no more than 6 MB from a function: the distribution knows the paths that go
// to the URL of their function. A path that it knows nothing of goes the usual way,
// to the same function, whose answer is then bounded. Requests by URL cost nothing
// beside the run.

// streams reports whether the function has a URL. No function has routes of both
// kinds, so that one reached by its URL knows no other routes.
func (f *function) streams() bool { return len(f.routes) > 0 && f.routes[0].Streams() }

// behaviour says which function's URL answers the paths that the pattern of the
// distribution matches; nil is the gateway.
type behaviour struct {
	pattern string
	to      *function
}

// addURLs adds the URLs of the functions that stream, as origins. Everybody may
// call them; the functions refuse who does not know the secret of the door. A
// signature of the distribution (origin access control) would not do: it asks
// clients for the hash of what they send.
func (s *stack) addURLs(functions []*function, made map[string]awslambda.CfnFunction) []any {
	var origins []any
	for _, f := range functions {
		if !f.streams() {
			continue
		}
		fn := made[f.name]
		url := awslambda.NewCfnUrl(s.Stack, jsii.String(urlID(f)), &awslambda.CfnUrlProps{
			TargetFunctionArn: fn.AttrArn(), AuthType: jsii.String("NONE"), InvokeMode: jsii.String("RESPONSE_STREAM"),
		})
		// Both are needed since October 2025.
		// https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
		awslambda.NewCfnPermission(s.Stack, jsii.String(urlID(f)+"Open"), &awslambda.CfnPermissionProps{
			FunctionName: fn.AttrArn(), Principal: jsii.String("*"),
			Action: jsii.String("lambda:InvokeFunctionUrl"), FunctionUrlAuthType: jsii.String("NONE"),
		})
		awslambda.NewCfnPermission(s.Stack, jsii.String(urlID(f)+"Invoke"), &awslambda.CfnPermissionProps{
			FunctionName: fn.AttrArn(), Principal: jsii.String("*"),
			Action: jsii.String("lambda:InvokeFunction"), InvokedViaFunctionUrl: jsii.Bool(true),
		})
		host := awscdk.Fn_Select(jsii.Number(2), awscdk.Fn_Split(jsii.String("/"), url.AttrFunctionUrl(), nil))
		origins = append(origins, s.origin(urlID(f), host, f.timeout))
	}
	return origins
}

// urlID is the logical id of the URL of a function, and the id of its origin.
func urlID(f *function) string { return functionID(f.name) + "Url" }

// behaviours derives what the distribution has to know, in the order in which it
// looks. The first pattern that matches counts.
//
// The distribution's * matches slashes too, so rooms/*/state would catch the event
// with the type and key a/state. In front of such a pattern is one that takes what
// has more slashes to the gateway; what has as many must differ in its words, or
// there is no such way for the route, which is an error.
//
// The version is two question marks, so that v3 and r0 are one pattern.
func behaviours(functions []*function) ([]behaviour, error) {
	var all []behaviour
	for _, f := range functions {
		for _, r := range f.routes {
			if !r.Streams() {
				continue
			}
			if isAdmin(r) {
				return nil, fmt.Errorf("route %s: what administrators call cannot stream: it shares a function with what does not", r.Name)
			}
			for _, p := range r.Patterns() {
				pattern, err := pathPattern(p)
				if err != nil {
					return nil, fmt.Errorf("route %s: %w", r.Name, err)
				}
				if b := (behaviour{pattern, f}); !slices.Contains(all, b) {
					all = append(all, b)
				}
			}
		}
	}
	var guards []behaviour
	for _, b := range all {
		for _, f := range functions {
			for _, r := range f.routes {
				for _, p := range r.Patterns() {
					_, path, _ := strings.Cut(strings.TrimSuffix(p, "{$}"), " ")
					if f == b.to || !mayMatch(b.pattern, path) {
						continue
					}
					if depth(path) <= depth(b.pattern) {
						return nil, fmt.Errorf("route %s cannot stream: the path %s of %s would reach its function too", b.to.name, path, r.Name)
					}
					if g := guard(b.pattern); !slices.Contains(guards, g) {
						guards = append(guards, g)
					}
				}
			}
		}
	}
	all = append(all, guards...)
	slices.SortStableFunc(all, func(a, b behaviour) int {
		return cmp.Or(
			cmp.Compare(beforeStar(a.pattern), beforeStar(b.pattern)),
			-cmp.Compare(depth(a.pattern), depth(b.pattern)),
		)
	})
	return all, nil
}

// guard catches what begins as the pattern does, and has more slashes.
func guard(pattern string) behaviour {
	start := beforeStar(pattern)
	n := depth(pattern) - depth(start) + 2
	return behaviour{start + strings.TrimPrefix(strings.Repeat("/*", n), "/"), nil}
}

func beforeStar(pattern string) string { start, _, _ := strings.Cut(pattern, "*"); return start }

func depth(path string) int { return strings.Count(path, "/") }

// pathPattern writes a pattern of ServeMux as the distribution does.
func pathPattern(pattern string) (string, error) {
	_, path, err := gatewayPath(pattern)
	if err != nil {
		return "", err
	}
	words := strings.Split(path, "/")
	for i, w := range words {
		switch {
		case strings.HasSuffix(w, "+}"):
			return "", fmt.Errorf("the rest of a path, as in %s, cannot stream", pattern)
		case strings.HasPrefix(w, "{"):
			words[i] = "*"
		case i == 3 && words[1] == "_matrix" && versions.MatchString(w):
			words[i] = strings.Repeat("?", len(w))
		}
	}
	return strings.Join(words, "/"), nil
}

var versions = regexp.MustCompile(`^[rv][0-9]$`)

// mayMatch reports whether the distribution's pattern matches any request of a path
// with parameters in braces, whatever these are.
func mayMatch(pattern, path string) bool {
	path = parameter.ReplaceAllLiteralString(path, "*")
	// A table of which suffixes of both can be the same text. A parameter holds no
	// slash, and at least one character.
	can := map[[2]int]bool{}
	var try func(i, j int) bool
	try = func(i, j int) bool {
		key := [2]int{i, j}
		if known, ok := can[key]; ok {
			return known
		}
		can[key] = false
		var ok bool
		switch {
		case i == len(pattern) && j == len(path):
			ok = true
		case i < len(pattern) && pattern[i] == '*':
			ok = try(i+1, j) || j < len(path) && try(i, j+1)
		case i == len(pattern) || j == len(path):
		case path[j] == '*':
			// The parameter takes one character of the pattern, and goes on or ends.
			ok = pattern[i] != '/' && (try(i+1, j) || try(i+1, j+1))
		default:
			ok = (pattern[i] == '?' || pattern[i] == path[j]) && try(i+1, j+1)
		}
		can[key] = ok
		return ok
	}
	return try(0, 0)
}
