package main

import (
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigatewayv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudfront"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsroute53"
	"github.com/aws/jsii-runtime-go"

	"github.com/virga-im/virga/shared/route"
)

// door is the way in: gateways that find the function of a request, and the
// distribution in front of them. By the secret in the headers of each origin
// functions know that a request came this way; they refuse all others.
type door struct {
	distribution awscloudfront.CfnDistribution
	host, url    *string
}

// addDoor adds the gateways and the distribution. The gateways know functions
// by name alone, so that functions may be told the name of the distribution; those
// that stream are made before, since the distribution knows their URLs.
func (s *stack) addDoor(functions []*function, made map[string]awslambda.CfnFunction) (*door, error) {
	var client, admin []*function
	var routes []route.Route
	for _, f := range functions {
		routes = append(routes, f.routes...)
		switch {
		case f.worker != nil:
		case f.handler == handlerUnknown:
			client, admin = append(client, f), append(admin, f)
		case isAdmin(f.routes[0]):
			admin = append(admin, f)
		default:
			client = append(client, f)
		}
	}
	rules, err := renames(routes)
	if err != nil {
		return nil, err
	}
	holds := s.holds(functions)
	var queues string
	if holds {
		queues = *s.waitURL()
	}
	code, err := doorCode(rules, queues)
	if err != nil {
		return nil, err
	}
	program := awscloudfront.NewCfnFunction(s.Stack, jsii.String("Door"), &awscloudfront.CfnFunctionProps{
		Name: s.named("door"), AutoPublish: jsii.Bool(true), FunctionCode: jsii.String(code),
		FunctionConfig: &awscloudfront.CfnFunction_FunctionConfigProperty{
			Comment: jsii.String("keeps the URI as it was sent"), Runtime: jsii.String("cloudfront-js-2.0"),
		},
	})
	s.inSection(program, "gateway")
	invokes := []any{statement([]string{"lambda:InvokeFunction"}, s.functionARN("*"))}
	if holds {
		invokes = append(invokes, statement([]string{"sqs:ReceiveMessage"}, s.waitARN()))
	}
	// One role invokes all functions; a permission for each route would be a
	// resource for each.
	invoke := awsiam.NewCfnRole(s.Stack, jsii.String("InvokeRole"), &awsiam.CfnRoleProps{
		Description:              jsii.String("lets the gateways invoke the functions of this stack, and wait at its queues"),
		AssumeRolePolicyDocument: trusts("apigateway.amazonaws.com"),
		Policies:                 policies("invoke", invokes),
	})
	clients, err := s.addAPI("Api", "clients and servers", client, rules, invoke, holds)
	if err != nil {
		return nil, err
	}
	ways, err := behaviours(functions)
	if err != nil {
		return nil, err
	}
	origins := append([]any{clients}, s.addURLs(functions, made)...)
	var others []any
	common := s.behaviour(program)
	first := awscloudfront.CfnDistribution_DefaultCacheBehaviorProperty{
		TargetOriginId: jsii.String("Api"), ViewerProtocolPolicy: common.ViewerProtocolPolicy,
		AllowedMethods: common.AllowedMethods, CachedMethods: common.CachedMethods, Compress: common.Compress,
		CachePolicyId: common.CachePolicyId, OriginRequestPolicyId: common.OriginRequestPolicyId,
		FunctionAssociations: common.FunctionAssociations,
	}
	config := &awscloudfront.CfnDistribution_DistributionConfigProperty{
		Enabled: jsii.Bool(true), Ipv6Enabled: jsii.Bool(true), HttpVersion: jsii.String("http2and3"),
		Comment:              jsii.String("Virga: " + s.opts.serverName),
		DefaultCacheBehavior: &first,
		CustomErrorResponses: uncachedErrors(),
	}
	behave := func(pattern, origin string) {
		b := *common
		b.PathPattern, b.TargetOriginId = jsii.String(pattern), jsii.String(origin)
		others = append(others, &b)
	}
	if len(admin) > 1 {
		origin, err := s.addAPI("AdminApi", "administrators", admin, rules, invoke, false)
		if err != nil {
			return nil, err
		}
		origins = append(origins, origin)
		behave("/_synapse/*", "AdminApi")
	}
	for _, b := range ways {
		to := "Api"
		if b.to != nil {
			to = urlID(b.to)
		}
		behave(b.pattern, to)
	}
	if holds {
		others = append(others, waitBehaviour(*common))
	}
	if others != nil {
		config.CacheBehaviors = others
	}
	config.Origins = origins
	if s.opts.domain != "" {
		config.Aliases = jsii.Strings(s.opts.domain)
		config.ViewerCertificate = &awscloudfront.CfnDistribution_ViewerCertificateProperty{
			AcmCertificateArn: jsii.String(s.opts.certificate), SslSupportMethod: jsii.String("sni-only"),
			MinimumProtocolVersion: jsii.String("TLSv1.2_2021"),
		}
	}
	d := &door{distribution: awscloudfront.NewCfnDistribution(s.Stack, jsii.String("Distribution"),
		&awscloudfront.CfnDistributionProps{DistributionConfig: config})}
	s.inSection(d.distribution, "gateway")
	d.host = d.distribution.AttrDomainName()
	if s.opts.domain != "" {
		d.host = jsii.String(s.opts.domain)
	}
	d.url = jsii.String("https://" + *d.host)
	s.addRecords(d)
	return d, nil
}

// distributionZone is the hosted zone that all distributions are in.
const distributionZone = "Z2FDTNDATAQYW2"

// addRecords points the domain to the distribution, in both address families.
func (s *stack) addRecords(d *door) {
	if s.opts.zone == "" {
		return
	}
	for _, kind := range []string{"A", "AAAA"} {
		awsroute53.NewCfnRecordSet(s.Stack, jsii.String("Record"+kind), &awsroute53.CfnRecordSetProps{
			HostedZoneId: jsii.String(s.opts.zone), Name: jsii.String(s.opts.domain + "."), Type: jsii.String(kind),
			AliasTarget: &awsroute53.CfnRecordSet_AliasTargetProperty{
				DnsName: d.distribution.AttrDomainName(), HostedZoneId: jsii.String(distributionZone),
			},
		})
	}
}

// tagValue is where the definition of a gateway has the value of a tag.
const tagValue = "x-amazon-apigateway-tag-value"

// addAPI adds a gateway and returns it as an origin.
func (s *stack) addAPI(id, who string, functions []*function, rules []rule, invoke awsiam.CfnRole, holds bool) (any, error) {
	uri := func(f *function) any {
		return map[string]any{"Fn::Sub": "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/" +
			"arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:" + *s.named(f.name) + "/invocations"}
	}
	body, err := openAPI("Virga of "+s.opts.serverName+" for "+who, functions, rules, uri, invoke.AttrArn())
	if err != nil {
		return nil, err
	}
	props := &awsapigatewayv2.CfnStageProps{StageName: jsii.String("$default"), AutoDeploy: jsii.Bool(true)}
	if holds {
		addWaits(body, invoke.AttrArn())
		props.RouteSettings = waitThrottle()
	}
	// A gateway takes its tags from its definition.
	body["tags"] = []any{map[string]any{"name": "section", tagValue: "gateway"}}
	for _, key := range slices.Sorted(maps.Keys(s.opts.tags())) {
		body["tags"] = append(body["tags"].([]any), map[string]any{"name": key, tagValue: s.opts.tags()[key]})
	}
	api := awsapigatewayv2.NewCfnApi(s.Stack, jsii.String(id), &awsapigatewayv2.CfnApiProps{Body: body})
	s.inSection(api, "gateway")
	s.apis[id] = api
	props.ApiId = api.Ref()
	stage := awsapigatewayv2.NewCfnStage(s.Stack, jsii.String(id+"Stage"), props)
	s.inSection(stage, "gateway")
	host := jsii.String(*api.Ref() + ".execute-api." + *s.Region() + "." + *s.UrlSuffix())
	return s.origin(id, host, 30*time.Second), nil // the gateway gives up then
}

// origin is something that answers requests, after so long at most.
func (s *stack) origin(id string, host *string, longest time.Duration) any {
	return &awscloudfront.CfnDistribution_OriginProperty{
		Id: jsii.String(id), DomainName: host, OriginCustomHeaders: s.secretHeader(),
		CustomOriginConfig: &awscloudfront.CfnDistribution_CustomOriginConfigProperty{
			OriginProtocolPolicy: jsii.String("https-only"), OriginSslProtocols: jsii.Strings("TLSv1.2"),
			// What it says when its time is up has to arrive.
			OriginReadTimeout: jsii.Number((longest + 5*time.Second).Seconds()), OriginKeepaliveTimeout: jsii.Number(60),
		},
	}
}

// allViewerExceptHost is AWS's own policy: the gateway is found by its own host
// name, and everything else that the client said goes through.
const allViewerExceptHost = "b689b0a8-53d0-40ab-baf2-68738e2966ac"

// behaviour is how the distribution treats requests: it keeps nothing. Answers
// belong to an access token, and an error that is kept for its default of ten
// seconds would be told to the next user.
//
// CloudFront does not accept headers in the key of a policy whose longest time
// is zero, hence the one second. Were anything ever kept, it would be kept for
// one token and one URI.
func (s *stack) behaviour(program awscloudfront.CfnFunction) *awscloudfront.CfnDistribution_CacheBehaviorProperty {
	policy := awscloudfront.NewCfnCachePolicy(s.Stack, jsii.String("CachePolicy"), &awscloudfront.CfnCachePolicyProps{
		CachePolicyConfig: &awscloudfront.CfnCachePolicy_CachePolicyConfigProperty{
			Name: s.named("door"), Comment: jsii.String("keeps nothing"),
			MinTtl: jsii.Number(0), DefaultTtl: jsii.Number(0), MaxTtl: jsii.Number(1),
			ParametersInCacheKeyAndForwardedToOrigin: &awscloudfront.CfnCachePolicy_ParametersInCacheKeyAndForwardedToOriginProperty{
				HeadersConfig: &awscloudfront.CfnCachePolicy_HeadersConfigProperty{
					HeaderBehavior: jsii.String("whitelist"), Headers: jsii.Strings("Authorization", "X-Virga-Uri"),
				},
				CookiesConfig:              &awscloudfront.CfnCachePolicy_CookiesConfigProperty{CookieBehavior: jsii.String("none")},
				QueryStringsConfig:         &awscloudfront.CfnCachePolicy_QueryStringsConfigProperty{QueryStringBehavior: jsii.String("none")},
				EnableAcceptEncodingGzip:   jsii.Bool(true),
				EnableAcceptEncodingBrotli: jsii.Bool(true),
			},
		},
	})
	return &awscloudfront.CfnDistribution_CacheBehaviorProperty{
		ViewerProtocolPolicy:  jsii.String("https-only"), // a redirect would come after the token was sent in the clear
		AllowedMethods:        jsii.Strings("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"),
		CachedMethods:         jsii.Strings("GET", "HEAD"),
		Compress:              jsii.Bool(true),
		CachePolicyId:         policy.Ref(),
		OriginRequestPolicyId: jsii.String(allViewerExceptHost),
		FunctionAssociations: []any{&awscloudfront.CfnDistribution_FunctionAssociationProperty{
			EventType: jsii.String("viewer-request"), FunctionArn: program.AttrFunctionMetadataFunctionArn(),
		}},
	}
}

// cacheableErrors are all the statuses that CloudFront would keep by itself.
var cacheableErrors = []int{400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504}

func uncachedErrors() []any {
	var all []any
	for _, status := range cacheableErrors {
		all = append(all, &awscloudfront.CfnDistribution_CustomErrorResponseProperty{
			ErrorCode: jsii.Number(status), ErrorCachingMinTtl: jsii.Number(0),
		})
	}
	return all
}

// functionARN names functions of this stack that need not exist yet.
func (s *stack) functionARN(name string) *string {
	return awscdk.Fn_Sub(jsii.String("arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"+*s.named(name)), nil)
}
