package main

import (
	"sort"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3assets"
	"github.com/aws/jsii-runtime-go"

	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/route"
)

// addProgram adds the program of all functions; the name of the route arrives as
// their handler. Two hundred programs would be fifty seconds of linking and
// 700 MB of upload a deploy.
func (s *stack) addProgram(code string) awss3assets.Asset {
	return awss3assets.NewAsset(s.Stack, jsii.String("Bootstrap"), &awss3assets.AssetProps{
		Path: jsii.String(code), DisplayName: jsii.String("bootstrap"),
	})
}

// addFunctions adds a function for each that is planned and not yet there. The
// door is nil for those that are made before it.
func (s *stack) addFunctions(functions []*function, roles map[*function]awsiam.CfnRole, program awss3assets.Asset, door *door) map[string]awslambda.CfnFunction {
	made := map[string]awslambda.CfnFunction{}
	for _, f := range functions {
		if f == s.custom.provider && door != nil {
			continue
		}
		props := &awslambda.CfnFunctionProps{
			FunctionName:  s.named(f.name),
			Description:   jsii.String(cut(f.about, 256)),
			Handler:       jsii.String(f.handler),
			Runtime:       jsii.String("provided.al2023"),
			Architectures: jsii.Strings(lambdaArch(s.opts.arch)),
			Code:          &awslambda.CfnFunction_CodeProperty{S3Bucket: program.S3BucketName(), S3Key: program.S3ObjectKey()},
			MemorySize:    jsii.Number(f.memory),
			Timeout:       jsii.Number(f.timeout.Seconds()),
			Role:          roles[f].AttrArn(),
			Environment:   &awslambda.CfnFunction_EnvironmentProperty{Variables: s.environment(f, door)},
			LoggingConfig: &awslambda.CfnFunction_LoggingConfigProperty{
				LogGroup: s.logs[f.section].Ref(),
				// Our lines are JSON already; Lambda's own about each run would
				// cost more than the run, and ours say as much.
				LogFormat: jsii.String("JSON"), ApplicationLogLevel: jsii.String("INFO"), SystemLogLevel: jsii.String("WARN"),
			},
		}
		if s.opts.settings["VIRGA_LOG_LEVEL"] == "debug" {
			props.LoggingConfig.(*awslambda.CfnFunction_LoggingConfigProperty).ApplicationLogLevel = jsii.String("DEBUG")
		}
		if f.worker != nil {
			switch f.worker.On.(type) {
			case *queue.Queue, route.Life:
				// Lambda stops chains of queue and function, and of a function with
				// itself, after 16 rounds. Work that sends more work bounds itself,
				// by a budget in its row, and the provider counts its rounds.
				props.RecursiveLoop = jsii.String("Allow")
			}
		}
		made[f.name] = awslambda.NewCfnFunction(s.Stack, jsii.String(functionID(f.name)), props)
		if f.worker != nil && f != s.custom.provider {
			// Nobody writes any more when the bucket is emptied. Functions that
			// answer HTTP are bound to that by the secret that they are told.
			made[f.name].AddResourceDependency(s.custom.remains, nil)
		}
		s.inSection(made[f.name], f.section)
	}
	return made
}

// functionID is the logical id of a function: the name of the route as the
// specification spells it.
func functionID(name string) string {
	id := logical(name)
	if name[0] >= 'a' && name[0] <= 'z' {
		id = name[:1] + id[1:]
	}
	return id
}

// addLogs adds a log group for each section. They belong to the stack, which
// deletes them: groups that Lambda makes by itself stay for ever.
func (s *stack) addLogs(functions []*function) {
	for _, section := range sections(functions) {
		group := awslogs.NewCfnLogGroup(s.Stack, jsii.String(logical(section)+"Logs"), &awslogs.CfnLogGroupProps{
			LogGroupName: jsii.String("/virga/" + s.opts.stack + "/" + section), RetentionInDays: jsii.Number(s.opts.logDays),
		})
		group.ApplyRemovalPolicy(awscdk.RemovalPolicy_DESTROY, nil)
		s.inSection(group, section)
		s.logs[section] = group
	}
}

func sections(functions []*function) []string {
	seen := map[string]bool{}
	var all []string
	for _, f := range functions {
		if !seen[f.section] {
			seen[f.section] = true
			all = append(all, f.section)
		}
	}
	sort.Strings(all)
	return all
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n-3] + "..."
	}
	return s
}
