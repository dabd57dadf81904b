package template

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"
)

// Resolve returns v with every intrinsic function replaced by its value. One that
// is not known is an error that names it.
func (t *Template) Resolve(v any) (any, error) {
	switch v := v.(type) {
	case []any:
		out := make([]any, 0, len(v))
		for _, e := range v {
			r, err := t.Resolve(e)
			if err != nil {
				return nil, err
			}
			if !isNoValue(r) {
				out = append(out, r)
			}
		}
		return out, nil
	case map[string]any:
		if len(v) == 1 {
			for name, arg := range v {
				if name == "Ref" || strings.HasPrefix(name, "Fn::") {
					return t.intrinsic(name, arg)
				}
			}
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			r, err := t.Resolve(e)
			if err != nil {
				return nil, err
			}
			if !isNoValue(r) {
				out[k] = r
			}
		}
		return out, nil
	}
	return v, nil
}

// noValue is what AWS::NoValue is: the property is as if it were not there.
type noValue struct{}

func isNoValue(v any) bool { _, ok := v.(noValue); return ok }

func (t *Template) intrinsic(name string, arg any) (any, error) {
	wrong := func() error { return fmt.Errorf("%s of %s is not understood", name, text(arg)) }
	switch name {
	case "Ref":
		if id, ok := arg.(string); ok {
			return t.Ref(id)
		}
	case "Fn::GetAtt":
		switch a := arg.(type) {
		case string:
			if id, attribute, ok := strings.Cut(a, "."); ok {
				return t.Attribute(id, attribute)
			}
		case []any:
			if id, attribute, ok := twoStrings(a); ok {
				return t.Attribute(id, attribute)
			}
		}
	case "Fn::Join":
		a, err := t.list(arg, 2)
		if err != nil {
			return nil, wrong()
		}
		between, ok := a[0].(string)
		parts, isList := a[1].([]any)
		if !ok || !isList {
			return nil, wrong()
		}
		words := make([]string, len(parts))
		for i, p := range parts {
			if words[i], ok = scalar(p); !ok {
				return nil, wrong()
			}
		}
		return strings.Join(words, between), nil
	case "Fn::Split":
		a, err := t.list(arg, 2)
		if err != nil {
			return nil, err
		}
		if at, whole, ok := twoStrings(a); ok {
			var parts []any
			for _, p := range strings.Split(whole, at) {
				parts = append(parts, p)
			}
			return parts, nil
		}
	case "Fn::Select":
		a, err := t.list(arg, 2)
		if err != nil {
			return nil, err
		}
		index, _ := scalar(a[0])
		i, err := strconv.Atoi(index)
		if of, ok := a[1].([]any); ok && err == nil && i >= 0 && i < len(of) {
			return of[i], nil
		}
	case "Fn::Sub":
		return t.substitute(arg)
	default:
		return nil, fmt.Errorf("the intrinsic function %s is not known here", name)
	}
	return nil, wrong()
}

// list resolves an argument that must be a list of n values.
func (t *Template) list(arg any, n int) ([]any, error) {
	v, err := t.Resolve(arg)
	if err != nil {
		return nil, err
	}
	if l, ok := v.([]any); ok && len(l) == n {
		return l, nil
	}
	return nil, fmt.Errorf("%s is no list of %d values", text(arg), n)
}

var placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)

// substitute is Fn::Sub: a text, or a text and values of its own.
func (t *Template) substitute(arg any) (any, error) {
	own := map[string]any{}
	if a, ok := arg.([]any); ok && len(a) == 2 {
		values, err := t.Resolve(a[1])
		if err != nil {
			return nil, err
		}
		own, _ = values.(map[string]any)
		arg = a[0]
	}
	in, ok := arg.(string)
	if !ok {
		return nil, fmt.Errorf("Fn::Sub of %s is not understood", text(arg))
	}
	var failed error
	out := placeholder.ReplaceAllStringFunc(in, func(p string) string {
		name := p[2 : len(p)-1]
		if literal, ok := strings.CutPrefix(name, "!"); ok {
			return "${" + literal + "}"
		}
		v, ok := own[name]
		if !ok {
			var err error
			if id, attribute, dotted := strings.Cut(name, "."); dotted {
				v, err = t.Attribute(id, attribute)
			} else {
				v, err = t.Ref(name)
			}
			if err != nil {
				failed = err
				return ""
			}
		}
		s, ok := scalar(v)
		if !ok {
			failed = fmt.Errorf("Fn::Sub: ${%s} is %s, which is no text", name, text(v))
		}
		return s
	})
	return out, failed
}

// physicalNames are the properties that name a resource, in the order in which
// they are looked for.
var physicalNames = []string{
	"TableName", "QueueName", "FunctionName", "LogGroupName", "AlarmName", "TopicName", "BucketName", "RoleName", "Name",
}

// Physical returns the name that a resource has, or would get.
func (t *Template) Physical(id string) string {
	r := t.Resources[id]
	switch r.Type {
	case "AWS::ApiGatewayV2::Api", "AWS::Lambda::Url":
		return made(t.Stack+"/"+id, "abcdefghijklmnopqrstuvwxyz0123456789", 10)
	case "AWS::CloudFront::Distribution":
		return made(t.Stack+"/"+id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 14)
	}
	if r.Type != "AWS::Lambda::EventSourceMapping" && r.Type != "AWS::Lambda::Permission" {
		for _, p := range physicalNames {
			if v, ok := r.Properties[p]; ok {
				if name, err := t.Resolve(v); err == nil {
					if name, ok := name.(string); ok {
						return name
					}
				}
			}
		}
	}
	name := t.Stack + "-" + id + "-1A2B3C4D5E6F"
	if r.Type == "AWS::S3::Bucket" {
		name = strings.ToLower(name)
	}
	return name
}

// made makes up an id that follows from a seed.
func made(seed, letters string, n int) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(seed))
	var id strings.Builder
	for x := h.Sum64(); id.Len() < n; x = x*6364136223846793005 + 1442695040888963407 {
		id.WriteByte(letters[int(x>>33)%len(letters)])
	}
	return id.String()
}

// Ref returns what {"Ref": id} is.
func (t *Template) Ref(id string) (any, error) {
	if v, ok := t.Pseudo[id]; ok {
		return v, nil
	}
	if id == "AWS::NoValue" {
		return noValue{}, nil
	}
	r, ok := t.Resources[id]
	if !ok {
		return nil, fmt.Errorf("Ref of %s: the stack has no such resource or parameter", id)
	}
	if t.Value != nil {
		if v, ok := t.Value(id, ""); ok {
			return v, nil
		}
	}
	switch r.Type {
	case "AWS::SQS::Queue":
		return "https://sqs." + t.Pseudo["AWS::Region"] + "." + t.Pseudo["AWS::URLSuffix"] + "/" + t.Pseudo["AWS::AccountId"] + "/" + t.Physical(id), nil
	case "AWS::SNS::Topic":
		return t.Attribute(id, "TopicArn")
	case "AWS::Lambda::Url":
		return t.Attribute(id, "FunctionArn")
	}
	return t.Physical(id), nil
}

// Attribute returns what {"Fn::GetAtt": [id, name]} is.
func (t *Template) Attribute(id, name string) (any, error) {
	r, ok := t.Resources[id]
	if !ok {
		return nil, fmt.Errorf("Fn::GetAtt of %s.%s: the stack has no such resource", id, name)
	}
	if t.Value != nil {
		if v, ok := t.Value(id, name); ok {
			return v, nil
		}
	}
	physical := t.Physical(id)
	arn := func(service, rest string) string {
		return "arn:" + t.Pseudo["AWS::Partition"] + ":" + service + ":" + t.Pseudo["AWS::Region"] + ":" + t.Pseudo["AWS::AccountId"] + ":" + rest
	}
	switch r.Type + "." + name {
	case "AWS::DynamoDB::Table.Arn":
		return arn("dynamodb", "table/"+physical), nil
	case "AWS::DynamoDB::Table.StreamArn":
		return arn("dynamodb", "table/"+physical) + "/stream/2026-11-21T00:00:00.000", nil
	case "AWS::SQS::Queue.Arn":
		return arn("sqs", physical), nil
	case "AWS::SQS::Queue.QueueUrl":
		return t.Ref(id)
	case "AWS::SQS::Queue.QueueName":
		return physical, nil
	case "AWS::SNS::Topic.TopicArn":
		return arn("sns", physical), nil
	case "AWS::Lambda::Function.Arn":
		return arn("lambda", "function:"+physical), nil
	case "AWS::Lambda::Url.FunctionArn":
		return t.Resolve(r.Properties["TargetFunctionArn"])
	case "AWS::Lambda::Url.FunctionUrl":
		return "https://" + physical + ".lambda-url." + t.Pseudo["AWS::Region"] + ".on.aws/", nil
	case "AWS::Logs::LogGroup.Arn":
		return arn("logs", "log-group:"+physical) + ":*", nil
	case "AWS::S3::Bucket.Arn":
		return "arn:" + t.Pseudo["AWS::Partition"] + ":s3:::" + physical, nil
	case "AWS::S3::Bucket.RegionalDomainName":
		return physical + ".s3." + t.Pseudo["AWS::Region"] + "." + t.Pseudo["AWS::URLSuffix"], nil
	case "AWS::IAM::Role.Arn":
		return "arn:" + t.Pseudo["AWS::Partition"] + ":iam::" + t.Pseudo["AWS::AccountId"] + ":role/" + physical, nil
	case "AWS::Events::Rule.Arn":
		return arn("events", "rule/"+physical), nil
	case "AWS::CloudWatch::Alarm.Arn":
		return arn("cloudwatch", "alarm:"+physical), nil
	case "AWS::CloudFront::Function.FunctionMetadata.FunctionARN":
		return "arn:" + t.Pseudo["AWS::Partition"] + ":cloudfront::" + t.Pseudo["AWS::AccountId"] + ":function/" + physical, nil
	case "AWS::CloudFront::Distribution.DomainName":
		return "d111111abcdef8.cloudfront.net", nil
	}
	return nil, fmt.Errorf("the attribute %s of %s, a resource of type %s, is not known here", name, id, r.Type)
}

func twoStrings(a []any) (first, second string, ok bool) {
	if len(a) != 2 {
		return "", "", false
	}
	first, ok1 := a[0].(string)
	second, ok2 := a[1].(string)
	return first, second, ok1 && ok2
}

// scalar writes a text, number or boolean as CloudFormation does.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
