package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/virga-im/virga/shared/aws/account"
)

// target is the account and region that a deploy would go to. Tests answer for
// one; *account.Account asks it.
type target interface {
	Region() string
	Caller(context.Context) (number, arn string, err error)
	Parameter(ctx context.Context, name string) (string, error)
	Concurrency(context.Context) (int, error)
	Certificate(ctx context.Context, arn string) (status string, names []string, err error)
	Zone(ctx context.Context, id string) (string, error)
}

// lookup finds the addresses of a host.
type lookup func(ctx context.Context, host string) ([]string, error)

// severity says what a deploy would make of a finding.
type severity string

const (
	fine     severity = "ok"
	caution  severity = "note" // the deploy works, and something else will not
	obstacle severity = "FAIL" // the deploy fails, or what it makes does
)

// finding is what a check has found, and what to do about it.
type finding struct {
	severity
	check, found, do string
}

// runPreflight asks the account that the environment names.
func runPreflight(ctx context.Context, said map[string]any) error {
	o, err := readOptions(said)
	if err != nil {
		return err
	}
	at, err := account.Open(ctx)
	if err != nil {
		return err
	}
	return report(os.Stdout, preflight(ctx, o, at, net.DefaultResolver.LookupHost))
}

// preflight checks what a deploy of these options needs. Every check can be
// repeated; none changes anything.
func preflight(ctx context.Context, o options, at target, dns lookup) []finding {
	if at.Region() == "" {
		return []finding{{obstacle, "region", "no region is chosen", "set AWS_REGION, such as AWS_REGION=eu-central-1: the region near to most users"}}
	}
	number, arn, err := at.Caller(ctx)
	if err != nil {
		return []finding{{obstacle, "credentials", err.Error(), "log in with aws sso login or aws configure, and name the profile in AWS_PROFILE"}}
	}
	found := []finding{
		{fine, "region", at.Region(), ""},
		{fine, "credentials", "account " + number + " as " + arn, ""},
		checkBootstrap(ctx, at, number),
		checkConcurrency(ctx, at),
	}
	if o.domain != "" {
		found = append(found, checkCertificate(ctx, o, at))
		if o.zone != "" {
			found = append(found, checkZone(ctx, o, at))
		}
		found = append(found, checkDomain(ctx, o, dns))
	}
	return append(found, checkServerName(ctx, o, dns))
}

// minBootstrap is the version of the bootstrap stack that CDK's template asks for.
const minBootstrap = 6

func checkBootstrap(ctx context.Context, at target, number string) finding {
	f := finding{obstacle, "bootstrap", "", "npx cdk bootstrap aws://" + number + "/" + at.Region()}
	text, err := at.Parameter(ctx, "/cdk-bootstrap/hnb659fds/version")
	version, _ := strconv.Atoi(text)
	switch {
	case errors.Is(err, account.ErrMissing):
		f.found = "the CDK has no place for its files in this account and region"
	case err != nil:
		return unknown(f.check, err)
	case version < minBootstrap:
		f.found = fmt.Sprintf("the CDK's stack in this region has version %q, and must have %d", text, minBootstrap)
	default:
		return finding{fine, f.check, "version " + text, ""}
	}
	return f
}

// enoughConcurrency is room for a small office: each of its clients may wait in
// /sync at once.
const enoughConcurrency = 100

func checkConcurrency(ctx context.Context, at target) finding {
	n, err := at.Concurrency(ctx)
	switch {
	case err != nil:
		return unknown("concurrency", err)
	case n < enoughConcurrency:
		return finding{caution, "concurrency", fmt.Sprintf("%d functions may run at once, and each client that waits in /sync is one of them", n),
			"ask for 1,000 under Service Quotas, AWS Lambda, Concurrent executions: it is free, and takes minutes to days"}
	}
	return finding{fine, "concurrency", fmt.Sprintf("%d functions may run at once", n), ""}
}

func checkCertificate(ctx context.Context, o options, at target) finding {
	f := finding{severity: obstacle, check: "certificate"}
	request := "aws acm request-certificate --region us-east-1 --validation-method DNS --domain-name " + o.domain
	status, names, err := at.Certificate(ctx, o.certificate)
	switch {
	case errors.Is(err, account.ErrMissing):
		f.found, f.do = "there is no certificate "+o.certificate, request+", and give its ARN as -c certificateArn"
	case err != nil:
		return unknown(f.check, err)
	case !covers(names, o.domain):
		f.found, f.do = "the certificate is for "+strings.Join(names, ", ")+" and not for "+o.domain, request+", and give its ARN as -c certificateArn"
	case status == "PENDING_VALIDATION":
		f.found, f.do = "the certificate waits for its validation", "make the CNAME record that the console shows at the certificate, and wait some minutes"
	case status != "ISSUED":
		f.found, f.do = "the certificate is "+status, request+", and give its ARN as -c certificateArn"
	default:
		return finding{fine, f.check, "issued for " + o.domain, ""}
	}
	return f
}

// covers reports whether a certificate for the names is one for the host. A star
// stands for one label.
func covers(names []string, host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	for _, name := range names {
		if strings.EqualFold(name, host) || strings.EqualFold(name, "*."+parent) {
			return true
		}
	}
	return false
}

func checkZone(ctx context.Context, o options, at target) finding {
	name, err := at.Zone(ctx, o.zone)
	switch {
	case errors.Is(err, account.ErrMissing):
		return finding{obstacle, "hosted zone", "there is no hosted zone " + o.zone + " in this account", "take its id from aws route53 list-hosted-zones, or leave out -c hostedZoneId and make the record by hand"}
	case err != nil:
		return unknown("hosted zone", err)
	case !strings.HasSuffix("."+o.domain, "."+name):
		return finding{obstacle, "hosted zone", o.zone + " is the zone of " + name + ", which " + o.domain + " is not in", "take the id of the right zone from aws route53 list-hosted-zones"}
	}
	return finding{fine, "hosted zone", name, ""}
}

func checkDomain(ctx context.Context, o options, dns lookup) finding {
	addresses, err := dns(ctx, o.domain)
	switch {
	case err != nil && o.zone == "":
		return finding{caution, "domain", o.domain + " has no address yet", "after the deploy, make the record that its output PointHere says"}
	case err != nil:
		return finding{fine, "domain", o.domain + " gets its records with the deploy", ""}
	case o.zone != "":
		return finding{caution, "domain", o.domain + " has the address " + addresses[0] + " already", "if its record is not of an earlier deploy, delete it first: the deploy fails where there is one"}
	}
	return finding{caution, "domain", o.domain + " has the address " + addresses[0] + " already", "after the deploy, compare its record with the output PointHere"}
}

// checkServerName looks whether others can find the server by its name.
func checkServerName(ctx context.Context, o options, dns lookup) finding {
	f := finding{severity: caution, check: "server name", do: "serve what the output WellKnown says at https://" + o.serverName + "/.well-known/matrix/server, or other servers will not find this one"}
	if o.serverName == o.domain {
		return finding{fine, f.check, "is the host that clients use", ""}
	}
	host, port, ok := strings.Cut(o.serverName, ":")
	if !hosts.MatchString(host) || ok && port != "443" {
		return finding{obstacle, f.check, o.serverName + " is an address or has a port: other servers go straight there, and CloudFront is not there", "choose a host without a port as -c serverName"}
	}
	if _, err := dns(ctx, host); err != nil {
		f.found = host + " has no address"
	} else {
		f.found = o.serverName + " is another host than the one that the stack answers for"
	}
	return f
}

// unknown is the finding of a check that could not be made.
func unknown(check string, err error) finding {
	return finding{caution, check, "cannot be checked: " + err.Error(), "deploy and see, or ask whoever manages the account for the permission to look"}
}

// report writes the findings, and returns an error if a deploy would fail.
func report(w io.Writer, findings []finding) error {
	obstacles := 0
	for _, f := range findings {
		fmt.Fprintf(w, "%-5s %-12s %s\n", f.severity, f.check, f.found)
		if f.do != "" {
			fmt.Fprintf(w, "%18s → %s\n", "", f.do)
		}
		if f.severity == obstacle {
			obstacles++
		}
	}
	if obstacles > 0 {
		return fmt.Errorf("a deploy would fail: see FAIL above")
	}
	return nil
}
