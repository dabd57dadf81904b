package iam

import (
	"slices"
	"strings"
)

// A Request is one action on one resource.
type Request struct {
	Action   string // such as dynamodb:GetItem
	Resource string // an ARN
	// Context holds what conditions ask for, such as s3:prefix. A key that is not
	// there is one that the request has not.
	Context map[string]string
}

// comparisons are the condition operators, without IfExists.
var comparisons = map[string]func(pattern, value string) bool{
	"StringEquals": func(want, value string) bool { return want == value },
	"StringLike":   wild,
	"ArnEquals":    wildARN,
	"ArnLike":      wildARN,
}

// holds reports whether the condition is fulfilled: by one of its values, or with
// IfExists by a request that does not have the key.
func (c Condition) holds(r Request) bool {
	value, ok := r.Context[c.Key]
	if !ok {
		return strings.HasSuffix(c.Operator, "IfExists")
	}
	compare := comparisons[strings.TrimSuffix(c.Operator, "IfExists")]
	return slices.ContainsFunc(c.Values, func(want string) bool { return compare(want, value) })
}

// match returns the first of the statement's actions and resources that the
// request is about, if there are any and all conditions hold.
func (s Statement) match(r Request) (action, resource string, ok bool) {
	for _, action := range s.Actions {
		if !wild(strings.ToLower(action), strings.ToLower(r.Action)) {
			continue
		}
		for _, resource := range s.Resources {
			if !wildARN(resource, r.Resource) {
				continue
			}
			for _, c := range s.Conditions {
				if !c.holds(r) {
					return "", "", false
				}
			}
			return action, resource, true
		}
	}
	return "", "", false
}

// wildARN compares two ARNs part by part: a wildcard does not reach over a colon,
// except in the last part, which names the resource and may hold colons.
func wildARN(pattern, arn string) bool {
	if pattern == "*" {
		return true
	}
	want, have := strings.SplitN(pattern, ":", 6), strings.SplitN(arn, ":", 6)
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if !wild(want[i], have[i]) {
			return false
		}
	}
	return true
}

// wild matches a text with a pattern, where * is any number of characters and ?
// is one.
func wild(pattern, text string) bool {
	star, mark := -1, 0 // the last * and where what it covers ends
	p, i := 0, 0
	for i < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
