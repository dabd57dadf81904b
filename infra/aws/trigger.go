package main

import (
	"fmt"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/jsii-runtime-go"

	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/store"
)

// addTriggers connects the workers with what starts them.
func (s *stack) addTriggers(functions []*function, made map[string]awslambda.CfnFunction) error {
	for _, f := range functions {
		if f.worker == nil {
			continue
		}
		id, target := logical(f.name)+"Trigger", made[f.name]
		switch on := f.worker.On.(type) {
		case store.ChangeStream:
			if !on.Table.Streamed {
				return fmt.Errorf("%s follows %s, which is not a streamed table", f.name, on.Table.Name)
			}
			s.inSection(awslambda.NewCfnEventSourceMapping(s.Stack, jsii.String(id), &awslambda.CfnEventSourceMappingProps{
				FunctionName:     target.Ref(),
				EventSourceArn:   s.tables[on.Table.Name].AttrStreamArn(),
				StartingPosition: jsii.String("TRIM_HORIZON"), // what was written before the worker existed counts
				BatchSize:        jsii.Number(100),
				// A record that always fails must not stop its shard for a day: the
				// batch is halved until it is alone, tried again, and put aside. The
				// sweep finds what it stood for.
				BisectBatchOnFunctionError: jsii.Bool(true),
				MaximumRetryAttempts:       jsii.Number(10),
				DestinationConfig: &awslambda.CfnEventSourceMapping_DestinationConfigProperty{
					OnFailure: &awslambda.CfnEventSourceMapping_OnFailureProperty{Destination: s.deadQueues[queue.Work.Name].AttrArn()},
				},
			}), f.section)
		case *queue.Queue:
			s.inSection(awslambda.NewCfnEventSourceMapping(s.Stack, jsii.String(id), &awslambda.CfnEventSourceMappingProps{
				FunctionName:          target.Ref(),
				EventSourceArn:        s.queues[on.Name].AttrArn(),
				BatchSize:             jsii.Number(10),
				FunctionResponseTypes: jsii.Strings("ReportBatchItemFailures"),
				// A flood from other servers must leave an account with little
				// concurrency room to answer its own clients.
				ScalingConfig: &awslambda.CfnEventSourceMapping_ScalingConfigProperty{MaximumConcurrency: jsii.Number(5)},
			}), f.section)
		case route.Every:
			rate, err := rateOf(time.Duration(on))
			if err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			rule := awsevents.NewCfnRule(s.Stack, jsii.String(id), &awsevents.CfnRuleProps{
				Name: s.named(f.name), Description: jsii.String(on.String()), ScheduleExpression: jsii.String(rate),
				Targets: []any{&awsevents.CfnRule_TargetProperty{Id: jsii.String("worker"), Arn: target.AttrArn()}},
			})
			s.inSection(rule, f.section)
			awslambda.NewCfnPermission(s.Stack, jsii.String(id+"Permission"), &awslambda.CfnPermissionProps{
				Action: jsii.String("lambda:InvokeFunction"), FunctionName: target.Ref(),
				Principal: jsii.String("events.amazonaws.com"), SourceArn: rule.AttrArn(),
			})
		case route.Life:
			// CloudFormation calls it, with the rights of whoever deploys.
		default:
			return fmt.Errorf("%s is started by %s, for which there is nothing on AWS", f.name, f.worker.On)
		}
	}
	return nil
}

// rateOf writes an interval as EventBridge does, in whole minutes.
func rateOf(every time.Duration) (string, error) {
	minutes := int(every / time.Minute)
	switch {
	case minutes < 1 || every%time.Minute != 0:
		return "", fmt.Errorf("an interval of %s is not a number of whole minutes", every)
	case minutes == 1:
		return "rate(1 minute)", nil
	}
	return fmt.Sprintf("rate(%d minutes)", minutes), nil
}
