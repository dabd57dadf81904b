// Package iam decides what roles may do, as far as policies say it with the words
// that our stack uses, and counts which words were needed. What it does not know
// is an error and never a pass.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
package iam

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Statement is part of a policy of a role.
type Statement struct {
	Deny       bool
	Actions    []string // with wildcards; letter case does not count
	Resources  []string // ARNs with wildcards
	Conditions []Condition
}

// A Condition bounds a statement by what a request is about.
type Condition struct {
	Operator string // such as StringLikeIfExists
	Key      string // such as s3:prefix
	Values   []string
}

// ParseDocument reads a policy of a role as it is in a template, without
// intrinsic functions. An element or a condition that it does not know is an
// error.
func ParseDocument(document any) ([]Statement, error) {
	d, ok := document.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a policy is %T, and must be an object", document)
	}
	for key := range d {
		if !slices.Contains([]string{"Version", "Id", "Statement"}, key) {
			return nil, fmt.Errorf("a policy has the element %s, which is not known here", key)
		}
	}
	if d["Version"] != "2012-10-17" {
		return nil, fmt.Errorf("a policy of the version %v, and must be of 2012-10-17", d["Version"])
	}
	list, ok := d["Statement"].([]any)
	if !ok {
		list = []any{d["Statement"]}
	}
	var all []Statement
	for _, v := range list {
		st, err := parseStatement(v)
		if err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	return all, nil
}

func parseStatement(v any) (st Statement, err error) {
	s, ok := v.(map[string]any)
	if !ok {
		return st, fmt.Errorf("a statement is %T, and must be an object", v)
	}
	for _, key := range slices.Sorted(maps.Keys(s)) {
		value := s[key]
		switch key {
		case "Sid":
		case "Effect":
			st.Deny = value == "Deny"
			if !st.Deny && value != "Allow" {
				return st, fmt.Errorf("a statement has the effect %v", value)
			}
		case "Action":
			st.Actions, err = texts(value)
		case "Resource":
			st.Resources, err = texts(value)
		case "Condition":
			st.Conditions, err = parseConditions(value)
		default:
			err = fmt.Errorf("a statement has the element %s, which is not known here", key)
		}
		if err != nil {
			return st, err
		}
	}
	switch {
	case s["Effect"] == nil:
		return st, fmt.Errorf("a statement has no Effect")
	case len(st.Actions) == 0 || len(st.Resources) == 0:
		return st, fmt.Errorf("a statement has no Action or no Resource")
	}
	for _, a := range st.Actions {
		if service, name, ok := strings.Cut(a, ":"); a != "*" && (!ok || service == "" || name == "") {
			return st, fmt.Errorf("%q is no action", a)
		}
	}
	for _, r := range st.Resources {
		if r != "*" && (!strings.HasPrefix(r, "arn:") || strings.Count(r, ":") < 5) {
			return st, fmt.Errorf("%q is no ARN", r)
		}
	}
	return st, nil
}

func parseConditions(v any) (all []Condition, err error) {
	operators, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a condition is %T, and must be an object", v)
	}
	for _, operator := range slices.Sorted(maps.Keys(operators)) {
		if comparisons[strings.TrimSuffix(operator, "IfExists")] == nil {
			return nil, fmt.Errorf("the condition operator %s is not known here", operator)
		}
		keys, ok := operators[operator].(map[string]any)
		if !ok || len(keys) == 0 {
			return nil, fmt.Errorf("the condition %s has no keys", operator)
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			values, err := texts(keys[key])
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", operator, key, err)
			}
			all = append(all, Condition{operator, key, values})
		}
	}
	return all, nil
}

// texts reads a text or a list of texts.
func texts(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var all []string
	for _, e := range list {
		text, ok := e.(string)
		if !ok {
			return nil, fmt.Errorf("%v is no text", e)
		}
		all = append(all, text)
	}
	return all, nil
}
