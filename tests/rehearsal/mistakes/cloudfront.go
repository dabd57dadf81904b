package mistakes

import "strings"

type behaviour struct {
	PathPattern, TargetOriginId, CachePolicyId string
	FunctionAssociations                       []struct{ EventType, FunctionARN string }
}

type distribution struct {
	DistributionConfig struct {
		DefaultCacheBehavior behaviour
		CacheBehaviors       []behaviour
		Origins              []struct {
			Id, DomainName      string
			CustomOriginConfig  struct{ OriginReadTimeout float64 }
			OriginCustomHeaders []struct{ HeaderName, HeaderValue string }
		}
	}
}

// distributions checks that CloudFront sends requests to what is there, and keeps
// to the rules of its policies.
func (f *finder) distributions() {
	hosts := map[string]bool{}
	suffix := f.Pseudo["AWS::Region"] + "." + f.Pseudo["AWS::URLSuffix"]
	for _, id := range f.IDs("AWS::ApiGatewayV2::Api") {
		hosts[f.Physical(id)+".execute-api."+suffix] = true
	}
	for url := range f.arns("AWS::Lambda::Url", "FunctionUrl") {
		hosts[strings.Trim(strings.TrimPrefix(url, "https://"), "/")] = true
	}
	programs := f.arns("AWS::CloudFront::Function", "FunctionMetadata.FunctionARN")
	each(f, "AWS::CloudFront::Function", func(id string, p struct {
		FunctionCode string
		AutoPublish  bool
	}) {
		f.check(len(p.FunctionCode) <= 10<<10, "%s has %d bytes, and CloudFront allows 10240", id, len(p.FunctionCode))
		f.check(p.AutoPublish, "%s is not published", id)
	})
	policies := map[string]bool{}
	each(f, "AWS::CloudFront::CachePolicy", func(id string, p struct {
		CachePolicyConfig struct {
			MinTTL, DefaultTTL, MaxTTL               float64
			ParametersInCacheKeyAndForwardedToOrigin struct {
				HeadersConfig struct{ HeaderBehavior string }
			}
		}
	}) {
		policies[f.Physical(id)] = true
		c := p.CachePolicyConfig
		f.check(c.MaxTTL > 0 || c.ParametersInCacheKeyAndForwardedToOrigin.HeadersConfig.HeaderBehavior == "none",
			"%s: headers are in the key, and the longest time to live is zero", id)
		f.check(c.MinTTL <= c.DefaultTTL && c.DefaultTTL <= c.MaxTTL, "%s: its times to live are out of order", id)
	})
	each(f, "AWS::CloudFront::Distribution", func(id string, p distribution) {
		c := p.DistributionConfig
		origins := map[string]bool{}
		for _, o := range c.Origins {
			f.check(!origins[o.Id], "%s has two origins %s", id, o.Id)
			origins[o.Id] = true
			inStack := strings.Contains(o.DomainName, ".execute-api.") || strings.Contains(o.DomainName, ".lambda-url.")
			f.check(!inStack || hosts[o.DomainName], "%s: the origin %s is %s, which the stack has not", id, o.Id, o.DomainName)
			f.check(!strings.ContainsAny(o.DomainName, "/:"), "%s: the origin %s is %s, which is no host name", id, o.Id, o.DomainName)
			f.check(o.CustomOriginConfig.OriginReadTimeout <= 60, "%s: the origin %s may take %v s, and CloudFront allows 60 unless it is asked", id, o.Id, o.CustomOriginConfig.OriginReadTimeout)
			for _, h := range o.OriginCustomHeaders {
				f.check(h.HeaderValue != "", "%s: the origin %s gets an empty header %s", id, o.Id, h.HeaderName)
			}
		}
		seen, used := map[string]bool{}, map[string]bool{}
		f.check(len(c.CacheBehaviors) <= 75, "%s has %d behaviours, and CloudFront allows 75", id, len(c.CacheBehaviors))
		for _, b := range append([]behaviour{c.DefaultCacheBehavior}, c.CacheBehaviors...) {
			f.check(origins[b.TargetOriginId], "%s: %q goes to the origin %s, which is not there", id, b.PathPattern, b.TargetOriginId)
			f.check(!seen[b.PathPattern], "%s: %q is there twice", id, b.PathPattern)
			f.check(!strings.HasPrefix(b.CachePolicyId, f.Stack) || policies[b.CachePolicyId], "%s: %q has the policy %s, which is not there", id, b.PathPattern, b.CachePolicyId)
			seen[b.PathPattern], used[b.TargetOriginId] = true, true
			for _, a := range b.FunctionAssociations {
				f.check(programs[a.FunctionARN] != "", "%s: %q runs %s, which is not there", id, b.PathPattern, a.FunctionARN)
			}
		}
		for name := range origins {
			f.check(used[name], "%s: nothing goes to the origin %s", id, name)
		}
	})
}
