package iam

import (
	"fmt"
	"slices"
	"strings"

	"github.com/virga-im/virga/tests/rehearsal/template"
)

// Roles reads the roles of a stack.
func Roles(t *template.Template) ([]Role, error) {
	var all []Role
	for _, id := range t.IDs("AWS::IAM::Role") {
		role, err := readRole(t, id)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		all = append(all, role)
	}
	return all, nil
}

func readRole(t *template.Template, id string) (role Role, err error) {
	arn, err := t.Attribute(id, "Arn")
	if err != nil {
		return role, err
	}
	role = Role{ARN: arn.(string), ID: id}
	properties, err := t.Properties(id)
	if err != nil {
		return role, err
	}
	for _, unknown := range []string{"ManagedPolicyArns", "PermissionsBoundary"} {
		if properties[unknown] != nil {
			return role, fmt.Errorf("%s is not known here", unknown)
		}
	}
	policies, _ := properties["Policies"].([]any)
	for _, p := range policies {
		p, _ := p.(map[string]any)
		statements, err := ParseDocument(p["PolicyDocument"])
		if err != nil {
			return role, err
		}
		role.Statements = append(role.Statements, statements...)
	}
	role.Trusts, err = trusted(properties["AssumeRolePolicyDocument"])
	return role, err
}

// trusted reads the services of a trust policy, which is one that services may
// assume the role without a condition.
func trusted(document any) (services []string, err error) {
	d, _ := document.(map[string]any)
	statements, _ := d["Statement"].([]any)
	for _, st := range statements {
		st, _ := st.(map[string]any)
		principal, _ := st["Principal"].(map[string]any)
		of, err := texts(principal["Service"])
		if err != nil || st["Effect"] != "Allow" || st["Action"] != "sts:AssumeRole" || len(st) != 3 || len(principal) != 1 {
			return nil, fmt.Errorf("the trust policy %v is not understood", document)
		}
		services = append(services, of...)
	}
	if services == nil {
		return nil, fmt.Errorf("nobody may assume it")
	}
	return services, nil
}

// withoutResource are actions that can be allowed on * only.
//
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
var withoutResource = []string{"sqs:ListQueues"}

// Outside returns what the roles of a stack are granted outside of it, a line
// each. A resource is inside if it is one of the stack or in one (a key of its
// bucket, a stream of its log group), or if its name begins with the name of the
// stack and an underscore, which no other stack's does.
func Outside(t *template.Template) ([]string, error) {
	roles, err := Roles(t)
	if err != nil {
		return nil, err
	}
	var own []string
	for _, kind := range []string{"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::Lambda::Function", "AWS::Logs::LogGroup", "AWS::SNS::Topic"} {
		attribute := "Arn"
		if kind == "AWS::SNS::Topic" {
			attribute = "TopicArn"
		}
		for _, id := range t.IDs(kind) {
			arn, err := t.Attribute(id, attribute)
			if err != nil {
				return nil, err
			}
			own = append(own, strings.TrimSuffix(arn.(string), ":*"))
		}
	}
	var all []string
	for _, role := range roles {
		for i, st := range role.Statements {
			for _, resource := range st.Resources {
				listing := resource == "*" && !slices.ContainsFunc(st.Actions, func(a string) bool { return !slices.Contains(withoutResource, a) })
				if !st.Deny && !listing && !inside(resource, own, t) {
					all = append(all, fmt.Sprintf("%s statement %d: %s on %s", role.ID, i+1, strings.Join(st.Actions, " "), resource))
				}
			}
		}
	}
	return all, nil
}

func inside(resource string, own []string, t *template.Template) bool {
	fixed := resource
	if i := strings.IndexAny(resource, "*?"); i >= 0 {
		fixed = resource[:i]
	}
	for _, arn := range own {
		if resource == arn || strings.HasPrefix(fixed, arn+"/") || strings.HasPrefix(fixed, arn+":") {
			return true
		}
	}
	parts := strings.SplitN(fixed, ":", 6)
	if len(parts) < 6 || parts[3] != t.Pseudo["AWS::Region"] || parts[4] != t.Pseudo["AWS::AccountId"] {
		return false
	}
	name := parts[5]
	for _, kind := range []string{"function:", "table/"} {
		name = strings.TrimPrefix(name, kind)
	}
	return strings.HasPrefix(name, t.Stack+"_") || strings.HasPrefix(name, "stack/"+t.Stack+"/")
}
