package mistakes

import (
	"fmt"
	"strings"

	"github.com/virga-im/virga/tests/rehearsal/template"
)

type function struct {
	FunctionName, Role, Handler string
	Timeout, MemorySize         int
	Environment                 struct{ Variables map[string]string }
	LoggingConfig               struct{ LogGroup string }
	Code                        struct{ S3Key string }
}

// functions checks the functions, and that what their environment names is there:
// the name of a table, queue or bucket that is spelt wrong is found at the first
// request that needs it, and no earlier.
func (f *finder) functions() {
	groups := map[string]bool{}
	for _, id := range f.IDs("AWS::Logs::LogGroup") {
		groups[f.Physical(id)] = true
	}
	each(f, "AWS::Lambda::Function", func(id string, p function) {
		f.trusts(id, p.Role, "lambda.amazonaws.com")
		f.check(p.Timeout >= 1 && p.Timeout <= 900, "%s: a timeout of %d s, and Lambda allows 1 to 900", id, p.Timeout)
		f.check(p.MemorySize >= 128 && p.MemorySize <= 10240, "%s: %d MB of memory, and Lambda allows 128 to 10240", id, p.MemorySize)
		f.check(len(p.FunctionName) <= 64, "%s: its name has %d characters, and Lambda allows 64", id, len(p.FunctionName))
		f.check(p.LoggingConfig.LogGroup == "" || groups[p.LoggingConfig.LogGroup], "%s: its log group %s is not in the stack", id, p.LoggingConfig.LogGroup)
		if _, err := f.Asset(p.Code.S3Key); err != nil {
			f.add("%s: %v", id, err)
		}
		for name, value := range p.Environment.Variables {
			reserved := name == "_HANDLER" || name == "_X_AMZN_TRACE_ID" || strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "LAMBDA_")
			f.check(!reserved, "%s: the environment variable %s belongs to Lambda", id, name)
			f.check(f.exists(value), "%s: %s=%s names what the stack has not", id, name, value)
		}
	})
}

// exists reports whether a value names no resource of an account, or one that the
// stack has. A value that ends in an underscore begins names.
func (f *finder) exists(value string) bool {
	queue := "https://sqs." + f.Pseudo["AWS::Region"] + "." + f.Pseudo["AWS::URLSuffix"] + "/" + f.Pseudo["AWS::AccountId"] + "/"
	name, isQueue := strings.CutPrefix(value, queue)
	switch {
	case strings.HasSuffix(value, "_"):
		return !isQueue || strings.HasPrefix(name, f.Stack+"_")
	case isQueue:
		_, ok := f.LogicalID("AWS::SQS::Queue", name)
		return ok
	case strings.HasPrefix(value, "https://sqs."):
		return false // of another region or account
	case strings.HasPrefix(value, "arn:"):
		for _, id := range f.names() {
			if id == template.Name(value) {
				return true
			}
		}
		return false
	case strings.HasPrefix(value, f.Stack+"_"), strings.HasPrefix(value, strings.ToLower(f.Stack)+"-") && strings.Contains(value, "bucket"):
		for _, id := range f.names() {
			if id == value {
				return true
			}
		}
		return false
	}
	return true
}

func (f *finder) names() (names []string) {
	for id := range f.Resources {
		names = append(names, f.Physical(id))
	}
	return names
}

// permission is who may invoke a function besides roles of the account.
type permission struct {
	Action, FunctionName, Principal, SourceArn, FunctionUrlAuthType string
	InvokedViaFunctionUrl                                           bool
}

// sources checks what starts functions: event source mappings, rules, function
// URLs and custom resources.
func (f *finder) sources() {
	functions := f.arns("AWS::Lambda::Function", "Arn")
	find := func(name string) (id string, ok bool) {
		if id, ok = functions[name]; !ok {
			id, ok = f.LogicalID("AWS::Lambda::Function", name)
		}
		return id, ok
	}
	var permissions []permission
	each(f, "AWS::Lambda::Permission", func(id string, p permission) {
		target, ok := find(p.FunctionName)
		f.check(ok, "%s: the function %s is not in the stack", id, p.FunctionName)
		p.FunctionName = target
		permissions = append(permissions, p)
	})
	each(f, "AWS::Lambda::EventSourceMapping", func(id string, p mapping) {
		target, ok := find(p.FunctionName)
		if f.check(ok, "%s: the function %s is not in the stack", id, p.FunctionName); !ok {
			return
		}
		var fn function
		if err := f.Decode(target, &fn); err != nil {
			f.add("%v", err)
			return
		}
		f.mapping(id, p, fn)
	})
	each(f, "AWS::Events::Rule", func(id string, p struct {
		State, ScheduleExpression string
		Targets                   []struct{ Arn string }
	}) {
		arn, err := f.Attribute(id, "Arn")
		if err != nil {
			f.add("%v", err)
		}
		f.check(p.State != "DISABLED", "%s is disabled", id)
		f.check(len(p.Targets) > 0, "%s starts nothing", id)
		for _, target := range p.Targets {
			fn, ok := find(target.Arn)
			f.check(ok, "%s: the function %s is not in the stack", id, target.Arn)
			allowed := false
			for _, p := range permissions {
				allowed = allowed || p.FunctionName == fn && p.Action == "lambda:InvokeFunction" && p.Principal == "events.amazonaws.com" && p.SourceArn == arn
			}
			f.check(allowed, "%s: nothing allows it to invoke %s", id, fn)
		}
	})
	each(f, "AWS::Lambda::Url", func(id string, p struct{ AuthType, TargetFunctionArn, InvokeMode string }) {
		fn, ok := find(p.TargetFunctionArn)
		f.check(ok, "%s: the function %s is not in the stack", id, p.TargetFunctionArn)
		if p.AuthType != "NONE" {
			return
		}
		// Since October 2025 a function URL without authentication needs both.
		url, invoke := false, false
		for _, p := range permissions {
			if p.FunctionName == fn && p.Principal == "*" {
				url = url || p.Action == "lambda:InvokeFunctionUrl" && p.FunctionUrlAuthType == "NONE"
				invoke = invoke || p.Action == "lambda:InvokeFunction" && p.InvokedViaFunctionUrl
				f.check(p.Action != "lambda:InvokeFunction" || p.InvokedViaFunctionUrl, "%s: everybody may invoke %s, with or without its URL", id, fn)
			}
		}
		f.check(url, "%s: nothing allows everybody lambda:InvokeFunctionUrl of %s", id, fn)
		f.check(invoke, "%s: nothing allows everybody lambda:InvokeFunction of %s by its URL", id, fn)
	})
	for id, r := range f.Resources {
		if !isCustom(r.Type) {
			continue
		}
		token, err := f.Resolve(r.Properties["ServiceToken"])
		if err == nil {
			_, ok := functions[fmt.Sprint(token)]
			f.check(ok, "%s: its provider %v is no function of the stack", id, token)
		}
	}
}

type mapping struct {
	FunctionName, EventSourceArn, StartingPosition string
	BatchSize, MaximumBatchingWindowInSeconds      int
	FunctionResponseTypes                          []string
	DestinationConfig                              struct{ OnFailure struct{ Destination string } }
	ScalingConfig                                  struct{ MaximumConcurrency int }
	MaximumRetryAttempts                           *int
	BisectBatchOnFunctionError                     bool
}

// mapping checks one event source: that there is what it reads, and that the role
// of its function may read it, which AWS asks for when it creates it.
func (f *finder) mapping(id string, p mapping, fn function) {
	streams := f.arns("AWS::DynamoDB::Table", "StreamArn")
	queues := f.arns("AWS::SQS::Queue", "Arn")
	table, isStream := streams[p.EventSourceArn]
	queue, isQueue := queues[p.EventSourceArn]
	switch {
	case isStream:
		f.check(f.Resources[table].Properties["StreamSpecification"] != nil, "%s: the table %s has no stream", id, table)
		f.check(p.StartingPosition == "TRIM_HORIZON" || p.StartingPosition == "LATEST", "%s: a stream is read from %q", id, p.StartingPosition)
		f.check(p.BatchSize <= 10_000, "%s: batches of %d, and a stream has at most 10000", id, p.BatchSize)
		for _, action := range []string{"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"} {
			f.may(id, fn.Role, "dynamodb:"+action, p.EventSourceArn)
		}
		if to := p.DestinationConfig.OnFailure.Destination; to != "" {
			_, ok := queues[to]
			f.check(ok, "%s: what fails goes to %s, which is no queue of the stack", id, to)
			f.check(!strings.HasSuffix(to, ".fifo"), "%s: what fails goes to %s, and cannot go to a FIFO queue", id, to)
			f.may(id, fn.Role, "sqs:SendMessage", to)
		}
	case isQueue:
		var q queueProperties
		if err := f.Decode(queue, &q); err != nil {
			f.add("%v", err)
			return
		}
		f.check(p.StartingPosition == "" && !p.BisectBatchOnFunctionError && p.MaximumRetryAttempts == nil && p.DestinationConfig.OnFailure.Destination == "",
			"%s: a queue is read as if it were a stream", id)
		f.check(p.BatchSize <= 10 || p.BatchSize <= 10_000 && !q.FifoQueue && p.MaximumBatchingWindowInSeconds >= 1,
			"%s: batches of %d, and more than 10 need a standard queue and a batching window", id, p.BatchSize)
		f.check(q.visibility() >= fn.Timeout, "%s: messages are hidden for %d s, and its function takes up to %d", id, q.visibility(), fn.Timeout)
		most := p.ScalingConfig.MaximumConcurrency
		f.check(most == 0 || most >= 2 && most <= 1000, "%s: %d at once, and Lambda allows 2 to 1000", id, most)
		for _, action := range []string{"DeleteMessage", "GetQueueAttributes", "ReceiveMessage"} {
			f.may(id, fn.Role, "sqs:"+action, p.EventSourceArn)
		}
	default:
		f.add("%s: %s is no stream or queue of the stack", id, p.EventSourceArn)
	}
}

type queueProperties struct {
	QueueName         string
	FifoQueue         bool
	VisibilityTimeout *int
	RedrivePolicy     *struct {
		Target string `json:"deadLetterTargetArn"`
		Most   int    `json:"maxReceiveCount"`
	}
}

func (q queueProperties) visibility() int {
	if q.VisibilityTimeout == nil {
		return 30
	}
	return *q.VisibilityTimeout
}

// queues checks names and queues of dead letters.
func (f *finder) queues() {
	arns := f.arns("AWS::SQS::Queue", "Arn")
	each(f, "AWS::SQS::Queue", func(id string, p queueProperties) {
		f.check(p.FifoQueue == strings.HasSuffix(p.QueueName, ".fifo"), "%s: its name is %s, and FIFO is %v", id, p.QueueName, p.FifoQueue)
		f.check(len(p.QueueName) <= 80, "%s: its name has %d characters, and SQS allows 80", id, len(p.QueueName))
		if p.RedrivePolicy == nil {
			return
		}
		dead, ok := arns[p.RedrivePolicy.Target]
		f.check(ok && dead != id, "%s: dead letters go to %s, which is no other queue of the stack", id, p.RedrivePolicy.Target)
		f.check(strings.HasSuffix(p.RedrivePolicy.Target, ".fifo") == p.FifoQueue, "%s and its dead letters differ in order", id)
		f.check(p.RedrivePolicy.Most >= 1 && p.RedrivePolicy.Most <= 1000, "%s: %d receives, and SQS allows 1 to 1000", id, p.RedrivePolicy.Most)
	})
}
