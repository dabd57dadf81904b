package main

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/virga-im/virga/functions/api"
)

var alarming struct {
	sync.Once
	template *stacked
}

// alarmingStack synthesises a stack with alarms and a budget, once for all tests.
func alarmingStack(t *testing.T) *stacked {
	needNode(t)
	alarming.Do(func() {
		opts := testOptions("virga-a")
		opts.alarms, opts.alarmEmail, opts.budget = true, "admin@example.org", "12.50"
		alarming.template = synth(t, opts, table{routes: api.Routes(), workers: api.Workers()})
	})
	if alarming.template == nil {
		t.Fatal("the alarms do not synthesise")
	}
	return alarming.template
}

func TestAlarmsAndBudgetsAreOnlyThereWhenAskedFor(t *testing.T) {
	for id, r := range realStack(t).Resources {
		for _, costly := range []string{"AWS::CloudWatch::", "AWS::SNS::", "AWS::Budgets::"} {
			if strings.HasPrefix(r.Type, costly) {
				t.Errorf("%s, %s, was not asked for", id, r.Type)
			}
		}
	}
}

func TestAlarmsSayWhatToDo(t *testing.T) {
	tm := alarmingStack(t)
	found := tm.All("AWS::CloudWatch::Alarm")
	want := []string{
		"FanOutBehindAlarm", "FunctionErrorsAlarm", "InboundAgeAlarm", "InboundDeadLettersAlarm", "RoomsThrottlesAlarm", "SendMessageDurationAlarm",
		"ServerErrorsAlarm", "SyncDurationAlarm", "SyncErrorsAlarm", "ThrottlesAlarm", "UsersThrottlesAlarm", "WorkAgeAlarm", "WorkDeadLettersAlarm",
	}
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	// CloudWatch shows descriptions as they are, at most 1,024 bytes.
	sentence := regexp.MustCompile(`^[A-Z][ -~]{20,800}: [ -~]*\.$`)
	for id := range found {
		p := tm.one(t, id)
		if about, _ := p["AlarmDescription"].(string); !sentence.MatchString(about) || strings.Contains(strings.TrimSuffix(about, "."), ". ") {
			t.Errorf("%s is not described by one sentence that says what to do: %q", id, about)
		}
		for _, actions := range []string{"AlarmActions", "OKActions"} {
			if at(t, p, actions, 0) != tm.attribute(t, "AlarmTopic", "TopicArn") {
				t.Errorf("%s tells nobody: %v", id, p[actions])
			}
		}
		if p["TreatMissingData"] != "notBreaching" || (p["Statistic"] == nil) == (p["ExtendedStatistic"] == nil) || p["Metrics"] != nil {
			t.Errorf("%s: %v", id, p)
		}
	}
	topic := tm.one(t, "AlarmTopic")
	if at(t, topic, "Subscription", 0, "Protocol") != "email" || at(t, topic, "Subscription", 0, "Endpoint") != "admin@example.org" {
		t.Errorf("the topic: %v", topic)
	}
	if to, _ := tm.output(t, "RollBackOn").(string); !strings.Contains(to, tm.attribute(t, "ServerErrorsAlarm", "Arn")+"},{") || !strings.Contains(to, tm.attribute(t, "SyncErrorsAlarm", "Arn")+"}]'") {
		t.Errorf("a deploy is undone by %s", to)
	}
	for id, r := range tm.Resources {
		if tags := tagsOf(t, r); strings.HasPrefix(r.Type, "AWS::CloudWatch::") && (tags["section"] != "alarms" || tags["server"] != "example.org") {
			t.Errorf("%s has the tags %v", id, tags)
		}
	}
}

// An alarm on a metric that nobody reports is silent for ever.
func TestAlarmsWatchWhatThereIs(t *testing.T) {
	tm := alarmingStack(t)
	of := func(typ, property string) []string {
		var names []string
		for id := range tm.All(typ) {
			name, _ := tm.one(t, id)[property].(string)
			names = append(names, name)
		}
		return names
	}
	exist := map[string][]string{
		"FunctionName": of("AWS::Lambda::Function", "FunctionName"),
		"QueueName":    of("AWS::SQS::Queue", "QueueName"),
		"TableName":    of("AWS::DynamoDB::Table", "TableName"),
		"ApiId":        {tm.Physical("Api")},
	}
	for id := range tm.All("AWS::CloudWatch::Alarm") {
		p := tm.one(t, id)
		dims, _ := p["Dimensions"].([]any)
		for _, d := range dims {
			if name, value := at(t, d, "Name").(string), at(t, d, "Value").(string); !slices.Contains(exist[name], value) {
				t.Errorf("%s watches the %s %s, which does not exist", id, name, value)
			}
		}
		if dims == nil && p["Namespace"] != "AWS/Lambda" {
			t.Errorf("%s watches a whole account: %v", id, p)
		}
	}
	for id, suffix := range map[string]string{"InboundDeadLettersAlarm": "_inbound_dead.fifo", "WorkDeadLettersAlarm": "_work_dead", "InboundAgeAlarm": "_inbound.fifo", "WorkAgeAlarm": "_work"} {
		if got := at(t, tm.one(t, id), "Dimensions", 0, "Value").(string); !strings.HasSuffix(got, suffix) {
			t.Errorf("%s watches %s", id, got)
		}
	}
	var body struct {
		Widgets []struct {
			Properties struct {
				Alarms  []string
				Metrics [][]any
				Region  string
			}
		}
	}
	if err := json.Unmarshal([]byte(tm.one(t, "Dashboard")["DashboardBody"].(string)), &body); err != nil {
		t.Fatal(err)
	}
	metrics := 0
	for _, w := range body.Widgets[1:] {
		metrics += len(w.Properties.Metrics)
		if w.Properties.Region != longRegion || len(w.Properties.Metrics) == 0 {
			t.Errorf("a graph of nothing: %+v", w)
		}
		for _, m := range w.Properties.Metrics {
			if name, ok := m[2].(string); ok && !slices.Contains(exist[name], m[3].(string)) {
				t.Errorf("a graph of %v, which does not exist", m)
			}
		}
	}
	if len(body.Widgets[0].Properties.Alarms) != len(tm.All("AWS::CloudWatch::Alarm")) || metrics > 50 {
		t.Errorf("%d alarms, and %d metrics, of which 50 are free", len(body.Widgets[0].Properties.Alarms), metrics)
	}
}

func TestTheBudgetIsTold(t *testing.T) {
	tm := alarmingStack(t)
	p := tm.one(t, "Budget")
	if limit := at(t, p, "Budget", "BudgetLimit"); at(t, limit, "Amount") != 12.5 || at(t, limit, "Unit") != "USD" || at(t, p, "Budget", "TimeUnit") != "MONTHLY" {
		t.Errorf("budget: %v", p)
	}
	told := p["NotificationsWithSubscribers"].([]any)
	if len(told) == 0 || len(told) > 5 {
		t.Errorf("%d notifications, want one to five", len(told))
	}
	for _, n := range told {
		if at(t, n, "Subscribers", 0, "Address") != "admin@example.org" {
			t.Errorf("nobody is told: %v", n)
		}
	}
}
