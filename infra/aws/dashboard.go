package main

import (
	"encoding/json"

	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/jsii-runtime-go"

	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
)

// addDashboard adds a page with what explains the alarms. Three dashboards of at
// most fifty metrics are free in an account; any other costs $3 a month.
func (s *stack) addDashboard(functions []*function, alarms []*string) {
	const width = 12 // of 24
	widgets := []any{map[string]any{
		"type": "alarm", "x": 0, "y": 0, "width": 2 * width, "height": 4,
		"properties": map[string]any{"title": "Alarms", "alarms": alarms},
	}}
	graph := func(title string, metrics ...metric) {
		n := len(widgets) - 1
		var lines []any
		for _, m := range metrics {
			line := []any{m.namespace, m.name}
			if m.dimension != "" {
				line = append(line, m.dimension, m.value)
			}
			lines = append(lines, append(line, map[string]any{"stat": m.stat}))
		}
		widgets = append(widgets, map[string]any{
			"type": "metric", "x": n % 2 * width, "y": 4 + n/2*6, "width": width, "height": 6,
			"properties": map[string]any{"title": title, "region": s.Region(), "period": 300, "metrics": lines},
		})
	}
	account := func(name, stat string) metric { return metric{namespace: "AWS/Lambda", name: name, stat: stat} }
	requests := []metric{s.apiMetric("Count", "Sum"), s.apiMetric("4xx", "Sum"), s.apiMetric("5xx", "Sum")}
	for _, f := range functions {
		if f.answers("sync") {
			requests = append(requests, s.functionMetric(f, "UrlRequestCount", "Sum"), s.functionMetric(f, "Url5xxCount", "Sum"))
		}
	}
	graph("Requests: of the gateway, and by the URL of /sync", requests...)
	var durations []metric
	for _, f := range functions {
		if f.handler == "sendMessage" || f.handler == "sync" {
			durations = append(durations, s.functionMetric(f, "Duration", "p50"), s.functionMetric(f, "Duration", "p99"))
		}
	}
	graph("Milliseconds to answer", append(durations, s.apiMetric("Latency", "p50"), s.apiMetric("Latency", "p99"))...)
	graph("Functions at once, in the account", account("ConcurrentExecutions", "Maximum"), account("Throttles", "Sum"), account("Errors", "Sum"))
	var queues, reads, writes []metric
	for _, q := range queue.Queues {
		queues = append(queues,
			queueMetric(s.queues[q.Name].AttrQueueName(), "ApproximateAgeOfOldestMessage", "Maximum"),
			queueMetric(s.deadQueues[q.Name].AttrQueueName(), "ApproximateNumberOfMessagesVisible", "Maximum"))
	}
	for _, f := range functions {
		if f.worker == nil {
			continue
		}
		if _, ok := f.worker.On.(store.ChangeStream); ok {
			queues = append(queues, s.functionMetric(f, "IteratorAge", "Maximum"))
		}
	}
	graph("What waits: seconds in queues, milliseconds in streams, and dead letters", queues...)
	for _, t := range store.Tables {
		reads = append(reads, tableMetric(s.named(t.Name), "ConsumedReadCapacityUnits", "Sum"))
		writes = append(writes, tableMetric(s.named(t.Name), "ConsumedWriteCapacityUnits", "Sum"))
	}
	graph("Read units", reads...)
	graph("Write units", writes...)
	body, err := json.Marshal(map[string]any{"widgets": widgets})
	if err != nil {
		panic(err) // strings and numbers
	}
	s.inSection(awscloudwatch.NewCfnDashboard(s.Stack, jsii.String("Dashboard"), &awscloudwatch.CfnDashboardProps{
		DashboardName: s.named("server"), DashboardBody: jsii.String(string(body)),
	}), "alarms")
}
