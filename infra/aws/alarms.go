package main

import (
	"strconv"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsbudgets"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/jsii-runtime-go"

	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
)

// metric is a number that AWS services report by themselves, at no cost. One
// without dimensions is the sum over the region of the account.
type metric struct {
	namespace, name string
	dimension       string // the name of its only dimension, if it has one
	value           *string
	stat            string // Sum, Maximum, p99, …
}

// alarm says when somebody has to look. CloudWatch asks $0.10 a month for every
// metric that an alarm watches, beyond the first ten of an account. A query over
// the metrics of all functions would count each of them, which is why errors are
// those of the account.
type alarm struct {
	id string
	metric
	do      string  // what it means and what to do, in one sentence
	atLeast float64 // the threshold
	minutes int     // of a period
	periods int     // in a row
}

// alarms are those of this stack.
func (s *stack) alarms(functions []*function) []alarm {
	lambda := func(name, stat string) metric { return metric{namespace: "AWS/Lambda", name: name, stat: stat} }
	all := []alarm{
		{"ServerErrors", s.apiMetric("5xx", "Sum"),
			"Clients were answered 500 or 503: search the log groups /virga/" + s.opts.stack + "/ for ERROR in these minutes, and if a deploy has just ended, deploy the version before it.",
			10, 5, 1},
		{"FunctionErrors", lambda("Errors", "Sum"),
			"Functions of this account crashed or ran out of time: search the log groups /virga/" + s.opts.stack + "/ for panic, Task timed out and ERROR, the workers first.",
			3, 15, 1},
		{"Throttles", lambda("Throttles", "Sum"),
			"More functions wanted to run at once than this account may: ask for more under Service Quotas, Lambda, Concurrent executions.",
			1, 5, 2},
	}
	for _, q := range queue.Queues {
		dead := "Messages failed " + strconv.Itoa(maxReceives) + " times and were put aside: read one under SQS, find its error in the log group /virga/" + s.opts.stack + "/workers, and when that is mended let Start DLQ redrive send them back"
		if q == queue.Work {
			dead += " (those that name a shard of a stream cannot be sent back, and a sweep does their work: delete them)"
		}
		all = append(all, alarm{logical(q.Name) + "DeadLetters", queueMetric(s.deadQueues[q.Name].AttrQueueName(), "ApproximateNumberOfMessagesVisible", "Maximum"), dead + ".", 1, 5, 1})
	}
	for _, q := range queue.Queues {
		all = append(all, alarm{logical(q.Name) + "Age", queueMetric(s.queues[q.Name].AttrQueueName(), "ApproximateAgeOfOldestMessage", "Maximum"),
			"A message has waited for half an hour, which is beyond every delay: look whether its worker fails in the log group /virga/" + s.opts.stack + "/workers, or is throttled.",
			30 * 60, 5, 2})
	}
	for _, t := range []*store.Table{store.Rooms, store.Users} { // which many write to at once
		all = append(all, alarm{logical(t.Name) + "Throttles", tableMetric(s.named(t.Name), "WriteThrottleEvents", "Sum"),
			"DynamoDB refused writes to one room or user, or to a table that grew faster than it can: if it lasts for an hour, look for the busiest room in the log groups /virga/" + s.opts.stack + "/, and lower the rate limits.",
			50, 5, 2})
	}
	for _, f := range functions {
		if f.worker == nil {
			continue
		}
		if _, ok := f.worker.On.(store.ChangeStream); ok {
			all = append(all, alarm{logical(f.name) + "Behind", s.functionMetric(f, "IteratorAge", "Maximum"),
				"What happens in rooms reaches users a minute late or later: look for errors of " + f.name + " in the log group /virga/" + s.opts.stack + "/workers.",
				60_000, 5, 2})
		}
	}
	for _, f := range functions {
		// The gateway knows nothing of what comes by the URL of a function. Most of
		// that, and nearly all of what an idle server is asked, is /sync.
		if f.answers("sync") {
			all = append(all, alarm{"SyncErrors", s.functionMetric(f, "Url5xxCount", "Sum"),
				"Clients that asked for what is new were answered 500 or 503: search the log groups /virga/" + s.opts.stack + "/ for ERROR in these minutes, and if a deploy has just ended, deploy the version before it.",
				10, 5, 1})
		}
	}
	// A duration is worth watching where one function answers one route.
	for _, slow := range []struct {
		route, do string
		atLeast   float64
	}{
		{"sendMessage", "One message in a hundred takes three seconds or longer to send: compare with the throttles of tables and functions on the dashboard, and look for the slowest in its log group.", 3_000},
		{"sync", "One /sync in a hundred takes two seconds longer than the 25 for which it waits, and is about to be cut off: compare with the throttles on the dashboard, and look for the largest answers in its log group.", 27_000},
	} {
		for _, f := range functions {
			if f.handler == slow.route {
				all = append(all, alarm{logical(f.name) + "Duration", s.functionMetric(f, "Duration", "p99"), slow.do, slow.atLeast, 5, 3})
			}
		}
	}
	return all
}

func (s *stack) apiMetric(name, stat string) metric {
	return metric{"AWS/ApiGateway", name, "ApiId", s.apis["Api"].Ref(), stat}
}

func (s *stack) functionMetric(f *function, name, stat string) metric {
	return metric{"AWS/Lambda", name, "FunctionName", s.named(f.name), stat}
}

func queueMetric(queue *string, name, stat string) metric {
	return metric{"AWS/SQS", name, "QueueName", queue, stat}
}

func tableMetric(table *string, name, stat string) metric {
	return metric{"AWS/DynamoDB", name, "TableName", table, stat}
}

// addAlarms adds the alarms, the topic that carries them to an e-mail address,
// and the dashboard.
func (s *stack) addAlarms(functions []*function) {
	if !s.opts.alarms {
		return
	}
	topic := awssns.NewCfnTopic(s.Stack, jsii.String("AlarmTopic"), &awssns.CfnTopicProps{
		TopicName: s.named("alarms"), DisplayName: jsii.String("Virga of " + s.opts.serverName),
		Subscription: []any{&awssns.CfnTopic_SubscriptionProperty{Protocol: jsii.String("email"), Endpoint: jsii.String(s.opts.alarmEmail)}},
	})
	s.inSection(topic, "alarms")
	to := []any{topic.Ref()}
	var arns []*string
	var undo []string // what is an error to clients, by ARN
	for _, a := range s.alarms(functions) {
		props := &awscloudwatch.CfnAlarmProps{
			AlarmName: s.named(a.id), AlarmDescription: jsii.String(a.do), AlarmActions: &to, OkActions: &to,
			Namespace: jsii.String(a.namespace), MetricName: jsii.String(a.name),
			Period: jsii.Number(a.minutes * 60), EvaluationPeriods: jsii.Number(a.periods),
			ComparisonOperator: jsii.String("GreaterThanOrEqualToThreshold"), Threshold: jsii.Number(a.atLeast),
			TreatMissingData: jsii.String("notBreaching"), // an idle server reports nothing
		}
		if a.dimension != "" {
			props.Dimensions = []any{&awscloudwatch.CfnAlarm_DimensionProperty{Name: jsii.String(a.dimension), Value: a.value}}
		}
		if strings.HasPrefix(a.stat, "p") {
			// Of a few requests, a cold start is the hundredth.
			props.ExtendedStatistic, props.EvaluateLowSampleCountPercentile = jsii.String(a.stat), jsii.String("ignore")
		} else {
			props.Statistic = jsii.String(a.stat)
		}
		made := awscloudwatch.NewCfnAlarm(s.Stack, jsii.String(a.id+"Alarm"), props)
		s.inSection(made, "alarms")
		arns = append(arns, made.AttrArn())
		if a.id == "ServerErrors" || a.id == "SyncErrors" {
			undo = append(undo, "{Type=AWS::CloudWatch::Alarm,Arn="+*made.AttrArn()+"}")
		}
	}
	s.addDashboard(functions, arns)
	awscdk.NewCfnOutput(s.Stack, jsii.String("RollBackOn"), &awscdk.CfnOutputProps{
		Description: jsii.String("run once: from then on a deploy during which clients get errors is undone"),
		Value: jsii.String("aws cloudformation update-stack --stack-name " + s.opts.stack + " --use-previous-template --capabilities CAPABILITY_IAM" +
			" --rollback-configuration 'MonitoringTimeInMinutes=10,RollbackTriggers=[" + strings.Join(undo, ",") + "]'"),
	})
}

// addBudget adds a budget for the whole account. One for the tags of this stack
// would stay at nothing, and silent, until somebody activates them.
func (s *stack) addBudget() {
	if s.opts.budget == "" {
		return
	}
	amount, err := strconv.ParseFloat(s.opts.budget, 64)
	if err != nil {
		panic(err) // readOptions has checked it
	}
	notify := func(kind string, percent int) any {
		return &awsbudgets.CfnBudget_NotificationWithSubscribersProperty{
			Notification: &awsbudgets.CfnBudget_NotificationProperty{
				NotificationType: jsii.String(kind), ComparisonOperator: jsii.String("GREATER_THAN"),
				Threshold: jsii.Number(percent), ThresholdType: jsii.String("PERCENTAGE"),
			},
			Subscribers: []any{&awsbudgets.CfnBudget_SubscriberProperty{
				SubscriptionType: jsii.String("EMAIL"), Address: jsii.String(s.opts.alarmEmail),
			}},
		}
	}
	awsbudgets.NewCfnBudget(s.Stack, jsii.String("Budget"), &awsbudgets.CfnBudgetProps{
		Budget: &awsbudgets.CfnBudget_BudgetDataProperty{
			BudgetName: s.named("account"), BudgetType: jsii.String("COST"), TimeUnit: jsii.String("MONTHLY"),
			BudgetLimit: &awsbudgets.CfnBudget_SpendProperty{Amount: jsii.Number(amount), Unit: jsii.String("USD")},
		},
		NotificationsWithSubscribers: []any{notify("FORECASTED", 100), notify("ACTUAL", 80), notify("ACTUAL", 100)},
	})
}
