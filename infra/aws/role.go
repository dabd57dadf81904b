package main

import (
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/jsii-runtime-go"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/store"
)

// allowed says what a grant is in IAM's words.
var allowed = map[grant.Kind]map[grant.Action][]string{
	grant.Table: {
		grant.Read: {"dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"},
		// TransactWriteItems has no permission of its own: each of its parts
		// needs the one of its kind. BatchWriteItem is left out, because it
		// cannot be conditional, and Scan, because nothing may need it.
		grant.Write: {"dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"},
	},
	grant.Queue: {grant.Send: {"sqs:SendMessage"}},
	grant.Wait:  {grant.Wake: {"sqs:SendMessage"}, grant.Hold: {"sqs:CreateQueue"}},
	grant.Blob: {
		grant.Read:  {"s3:GetObject"},
		grant.Write: {"s3:DeleteObject", "s3:PutObject"},
	},
}

// addRoles adds a role for each distinct set of grants. Domains export the sets
// of their operations, so there are few; a role for each function would fill the
// stack and the account's quota of a thousand.
func (s *stack) addRoles(functions []*function) map[*function]awsiam.CfnRole {
	shared := map[string][]*function{}
	var names []string
	for _, f := range functions {
		name := roleName(f)
		if shared[name] == nil {
			names = append(names, name)
		}
		shared[name] = append(shared[name], f)
	}
	roles := map[*function]awsiam.CfnRole{}
	for _, name := range names {
		first := shared[name][0]
		statements := append(s.statements(first.uses), s.triggerStatements(first)...)
		statements = append(statements, s.logStatement(shared[name]))
		about := "may touch: " + first.uses.String()
		if len(first.uses) == 0 {
			about = "may touch nothing"
		}
		role := awsiam.NewCfnRole(s.Stack, jsii.String(name), &awsiam.CfnRoleProps{
			Description:              jsii.String(cut(about, 1000)),
			AssumeRolePolicyDocument: trusts("lambda.amazonaws.com"),
			Policies:                 policies("uses", statements),
		})
		for _, f := range shared[name] {
			roles[f] = role
		}
	}
	return roles
}

// roleName tells roles apart by what they allow, readably: the logical id of a
// role that reads tokens and writes users is RoleReadTokensWriteUsers.
func roleName(f *function) string {
	words := []string{"Role"}
	for _, action := range []grant.Action{grant.Read, grant.Write, grant.Send, grant.Wake, grant.Hold} {
		var of []string
		for _, g := range f.uses {
			if g.Action == action {
				of = append(of, logical(g.Name))
				if g.Kind == grant.Blob {
					of[len(of)-1] += "Blobs"
				}
			}
		}
		if of != nil {
			words = append(append(words, logical(string(action))), of...)
		}
	}
	if len(f.uses) == 0 {
		words = append(words, "Nothing")
	}
	if f.worker != nil {
		words = append(words, "On", logical(f.worker.On.String()))
	}
	return strings.Join(words, "")
}

// statements turns grants into IAM statements, one for each action.
func (s *stack) statements(uses grant.Set) []any {
	type key struct {
		kind   grant.Kind
		action grant.Action
	}
	resources := map[key][]any{}
	var keys []key
	for _, g := range uses {
		k := key{g.Kind, g.Action}
		if resources[k] == nil {
			keys = append(keys, k)
		}
		resources[k] = append(resources[k], s.resource(g))
	}
	var all []any
	for _, k := range keys {
		actions := allowed[k.kind][k.action]
		if actions == nil {
			panic("no IAM action for " + string(k.kind) + ":" + string(k.action))
		}
		all = append(all, statement(actions, resources[k]...))
		if k == (key{grant.Blob, grant.Read}) {
			// Listing is granted on the bucket, and bounded by the prefix. It
			// also makes S3 answer 404 instead of 403 for what is not there,
			// where there is no prefix to compare, hence IfExists.
			var prefixes []string
			for _, g := range uses {
				if g.Kind == grant.Blob && g.Action == grant.Read {
					prefixes = append(prefixes, g.Name+"*")
				}
			}
			list := statement([]string{"s3:ListBucket"}, s.bucket.AttrArn())
			list["Condition"] = map[string]any{"StringLikeIfExists": map[string]any{"s3:prefix": prefixes}}
			all = append(all, list)
		}
	}
	return all
}

// resource is the ARN that a grant is about.
func (s *stack) resource(g grant.Grant) any {
	switch g.Kind {
	case grant.Table:
		if t := s.tables[g.Name]; t != nil {
			return t.AttrArn()
		}
	case grant.Queue:
		if q := s.queues[g.Name]; q != nil {
			return q.AttrArn()
		}
	case grant.Wait:
		return s.waitARN()
	case grant.Blob:
		return *s.bucket.AttrArn() + "/" + g.Name + "*"
	}
	panic("no resource for the grant " + g.String())
}

// triggerStatements is what Lambda needs to fetch what starts the worker.
func (s *stack) triggerStatements(f *function) []any {
	if f.worker == nil {
		return nil
	}
	switch on := f.worker.On.(type) {
	case *queue.Queue:
		return []any{statement([]string{"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"}, s.queues[on.Name].AttrArn())}
	case store.ChangeStream:
		return []any{
			statement([]string{"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"},
				s.tables[on.Table.Name].AttrStreamArn()),
			statement([]string{"sqs:SendMessage"}, s.deadQueues[queue.Work.Name].AttrArn()),
		}
	case route.Life:
		return s.providerStatements(f)
	}
	return nil
}

// logStatement lets functions write to the log groups of their sections.
func (s *stack) logStatement(functions []*function) any {
	var groups []any
	for _, section := range sections(functions) {
		groups = append(groups, s.logs[section].AttrArn()) // ends in ":*", the streams of the group
	}
	return statement([]string{"logs:CreateLogStream", "logs:PutLogEvents"}, groups...)
}

func statement(actions []string, resources ...any) map[string]any {
	return map[string]any{"Effect": "Allow", "Action": slices.Clone(actions), "Resource": resources}
}

func policies(name string, statements []any) []any {
	return []any{&awsiam.CfnRole_PolicyProperty{
		PolicyName:     jsii.String(name),
		PolicyDocument: map[string]any{"Version": "2012-10-17", "Statement": statements},
	}}
}

func trusts(service string) map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": map[string]any{"Service": service},
	}}}
}
