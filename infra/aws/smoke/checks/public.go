package checks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// versions finds out whether somebody is there, and who.
func (s *suite) versions(ctx context.Context) bool {
	const check = "versions"
	r := request{method: "GET", target: "/_matrix/client/versions"}
	first, err := s.send(ctx, r)
	if err != nil {
		return s.judge(check, "", "is this the output URL of the deploy, and has its record of DNS arrived everywhere?", err)
	}
	switch {
	case first.header.Get("X-Amz-Cf-Id") != "" || strings.Contains(first.header.Get("Via"), "cloudfront"):
		s.where = onAWS
	case first.header.Get("Apigw-Requestid") != "":
		s.where = gateway
	default:
		s.where = plain
	}
	o, err := first.json(http.StatusOK)
	if list, _ := o["versions"].([]any); err == nil && len(list) == 0 {
		err = fmt.Errorf("%s lists no versions", first.asked)
	}
	if err != nil {
		return s.judge(check, "", "read the logs of the function getVersions, in the log group /virga/<stack>/client/server", err)
	}
	again, err := s.send(ctx, r)
	ok := s.judge(check, fmt.Sprintf("in %s, and once it is warm in %s; it is %s", brief(first.took), brief(again.took), s.where), "", err)
	if s.where == gateway {
		s.tell(bad, "front door", "requests do not come through CloudFront", "give the output URL, and not the address of the HTTP API")
	}
	if s.where == onAWS && strings.HasPrefix(s.URL, "https:") {
		s.speaks(again)
	} else {
		s.tell(skipped, "HTTP/2", "it is CloudFront's, with TLS", "")
	}
	return ok
}

func (s *suite) speaks(a answer) {
	err := error(nil)
	if a.proto != "HTTP/2.0" {
		err = fmt.Errorf("it speaks %s", a.proto)
	}
	s.judge("HTTP/2", a.proto, "the distribution is to have HttpVersion http2 or http2and3", err)
}

// wellKnown is how clients find the server from its name.
func (s *suite) wellKnown(ctx context.Context) {
	const do = "deploy with -c domain=…, or -c publicBaseurl=…, as the address that clients use"
	o, err := s.call(ctx, request{method: "GET", target: "/.well-known/matrix/client"})
	base := str(o, "m.homeserver", "base_url")
	switch {
	case err == nil && s.PublicURL != "" && base != s.PublicURL:
		err = fmt.Errorf("clients are sent to %s, and not to %s", base, s.PublicURL)
	case err == nil && s.PublicURL == "":
		_, err = s.call(ctx, request{method: "GET", base: strings.TrimSuffix(base, "/"), target: "/_matrix/client/versions"})
	}
	s.judge("well-known", "clients are sent to "+base, do, err)
}

// preflight is what browsers ask before anything else.
func (s *suite) preflight(ctx context.Context) {
	const check = "CORS preflight"
	a, err := s.send(ctx, request{method: "OPTIONS", target: v3 + "/sync", header: map[string]string{
		"Origin": "https://app.example.org", "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization",
	}})
	allows := func(header, want string) {
		if got := a.header.Get(header); err == nil && !strings.Contains(strings.ToLower(got), want) {
			err = fmt.Errorf("%s is %q, and does not have %s", header, got, want)
		}
	}
	if err == nil && a.status/100 != 2 {
		err = fmt.Errorf("it is answered %d", a.status)
	}
	allows("Access-Control-Allow-Origin", "*")
	allows("Access-Control-Allow-Headers", "authorization")
	allows("Access-Control-Allow-Methods", "put")
	by := "the server"
	if s.where == onAWS {
		by = "the front door"
		if a.header.Get("Apigw-Requestid") != "" && err == nil {
			err = errors.New("it went through to the HTTP API, which costs time and money")
		}
	}
	s.judge(check, fmt.Sprintf("answered by %s in %s", by, brief(a.took)), "the function of the front door (infra/aws/door.js) is not at work in each behaviour of the distribution", err)
}

func (s *suite) head(ctx context.Context) {
	a, err := s.send(ctx, request{method: "HEAD", target: "/_matrix/client/versions"})
	switch {
	case err == nil && a.status == http.StatusMethodNotAllowed:
		s.tell(fine, "HEAD", "405: HTTP APIs do not count it as GET. Clients do not need it", "")
		return
	case err == nil && a.status != http.StatusOK:
		err = fmt.Errorf("it is answered %d", a.status)
	}
	s.judge("HEAD", "200", "look for it in the logs of the function unknown", err)
}

// unknown is what there is not: an error in Matrix's words.
func (s *suite) unknown(ctx context.Context) {
	const do = "the routes $default of the HTTP APIs are to reach the function unknown"
	errs := []error{}
	for _, r := range []struct {
		request
		status int
	}{
		{request{method: "GET", target: v3 + "/no_such_endpoint"}, http.StatusNotFound},
		{request{method: "GET", target: "/_matrix/federation/v9/no_such_endpoint"}, http.StatusNotFound},
		{request{method: "GET", target: "/_synapse/admin/v9/no_such_endpoint"}, http.StatusNotFound},
		{request{method: "DELETE", target: v3 + "/sync"}, http.StatusMethodNotAllowed},
	} {
		a, err := s.send(ctx, r.request)
		if err == nil {
			err = a.refused(r.status, "M_UNRECOGNIZED")
		}
		errs = append(errs, err)
	}
	s.judge("unknown endpoints", "404 and 405 with M_UNRECOGNIZED", do, errors.Join(errs...))
}

// direct looks whether what is behind the front door refuses those who go around it.
func (s *suite) direct(ctx context.Context) {
	const check = "behind the door"
	if len(s.Direct) == 0 {
		s.tell(skipped, check, "-gateway names an address that must refuse; aws apigatewayv2 get-apis lists those of the HTTP APIs", "")
		return
	}
	for _, base := range s.Direct {
		a, err := s.send(ctx, request{base: base, method: "GET", target: "/_matrix/client/versions", header: map[string]string{
			"X-Virga-Uri": "/_matrix/client/versions", "X-Virga-Ip": spoofed, "X-Virga-Secret": "guess",
		}})
		if err == nil && a.status != http.StatusForbidden {
			err = fmt.Errorf("%s answers %d, and not 403", base, a.status)
		}
		s.judge(check, base+" answers 403", "whoever finds that address can go around the front door: deploy again, and read what infra/aws/README.md says of the door's secret", err)
	}
}

func brief(d time.Duration) string { return d.Round(time.Millisecond).String() }
