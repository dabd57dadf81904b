package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/virga-im/virga/shared/config"
)

// options is what an administrator decides about a stack, as -c name=value or
// under "context" in cdk.json.
type options struct {
	serverName string // the part after the colon of user ids
	stage      string // dev: everything goes with the stack; prod: data stays
	layout     string // route: a function each; group: one for each set of grants
	arch       string // arm64; host builds for this machine, for tests
	stack      string // name of the stack; follows from the server name
	domain     string // the host that clients use, if it is not CloudFront's own
	// certificate is the ARN of a certificate for domain in us-east-1, the only
	// region that CloudFront takes certificates from.
	certificate string
	// settings is the environment that all functions share.
	settings map[string]string
}

// settings are the words of shared/config that may be given as context. Secrets
// are not among them: whoever may read a stack may read its context. They are
// rows of the server table.
var settings = map[string]string{
	"registration":     "VIRGA_REGISTRATION",
	"publicBaseurl":    "VIRGA_PUBLIC_BASEURL",
	"rateLimits":       "VIRGA_RATE_LIMITS",
	"presence":         "VIRGA_PRESENCE",
	"maxUploadSize":    "VIRGA_MAX_UPLOAD_SIZE",
	"urlPreviews":      "VIRGA_URL_PREVIEWS",
	"notary":           "VIRGA_NOTARY",
	"turnUserLifetime": "VIRGA_TURN_USER_LIFETIME",
	"supportPage":      "VIRGA_SUPPORT_PAGE",
	"supportEmail":     "VIRGA_SUPPORT_EMAIL",
	"supportMxid":      "VIRGA_SUPPORT_MXID",
	"logLevel":         "VIRGA_LOG_LEVEL",
}

// maxStackName leaves the longest operationId of the specification, of 40
// characters, its place in a function name of 64.
const maxStackName = 23

// readOptions reads the context. Its errors are sentences for the administrator.
func readOptions(context func(name string) any) (options, error) {
	var bad error
	text := func(name, otherwise string, allowed ...string) string {
		v := context(name)
		if v == nil {
			return otherwise
		}
		s := fmt.Sprint(v)
		if bad == nil && len(allowed) > 0 && !contains(allowed, s) {
			bad = fmt.Errorf("-c %s=%s: it must be one of %s", name, s, strings.Join(allowed, ", "))
		}
		return s
	}
	o := options{
		serverName:  text("serverName", ""),
		stage:       text("stage", "dev", "dev", "prod"),
		layout:      text("layout", "route", "route", "group"),
		arch:        text("arch", "arm64", "arm64", "host"),
		stack:       text("stack", ""),
		domain:      text("domain", ""),
		certificate: text("certificateArn", ""),
		// Presence costs a write a minute and user, and more for everybody who
		// sees it; a function takes 6 MB in base64.
		settings: map[string]string{"VIRGA_PRESENCE": "off", "VIRGA_MAX_UPLOAD_SIZE": "4M"},
	}
	if bad != nil {
		return o, bad
	}
	if o.serverName == "" {
		return o, fmt.Errorf("say which server to deploy: -c serverName=example.org (the part after the colon of user ids; it cannot be changed later)")
	}
	for word, env := range settings {
		if v := text(word, ""); v != "" {
			o.settings[env] = v
		}
	}
	o.settings["VIRGA_SERVER_NAME"] = o.serverName
	if _, err := config.Load(config.Input{Env: func(name string) (string, bool) { v, ok := o.settings[name]; return v, ok }}); err != nil {
		return o, err
	}
	switch {
	case o.domain != "" && o.certificate == "":
		return o, fmt.Errorf("-c domain=%s needs -c certificateArn=…, a certificate for that name in us-east-1: CloudFront takes no other", o.domain)
	case o.domain == "" && o.certificate != "":
		return o, fmt.Errorf("-c certificateArn needs -c domain=…, the host that clients use")
	case o.certificate != "" && !certificateARN.MatchString(o.certificate):
		return o, fmt.Errorf("-c certificateArn=%s: it must be the ARN of an ACM certificate in us-east-1: CloudFront takes no other", o.certificate)
	}
	if o.stack == "" {
		o.stack = stackName(o.serverName)
	}
	if !stackNames.MatchString(o.stack) || len(o.stack) > maxStackName {
		return o, fmt.Errorf("-c stack=%s: it must be a letter followed by letters, digits and hyphens, at most %d in all", o.stack, maxStackName)
	}
	return o, nil
}

var (
	certificateARN = regexp.MustCompile(`^arn:aws[a-z-]*:acm:us-east-1:\d{12}:certificate/[A-Za-z0-9-]+$`)
	stackNames     = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)
)

// stackName derives a name that no other server name gets: deploying another
// server must never update this one. A name made of dots, letters and digits is
// told apart by its hyphens; any other, and a long one, by a hash.
func stackName(server string) string {
	slug := "virga-" + regexp.MustCompile(`[^a-zA-Z0-9]+`).ReplaceAllString(server, "-")
	if regexp.MustCompile(`^[a-z0-9.]+$`).MatchString(server) && len(slug) <= maxStackName {
		return slug
	}
	sum := sha256.Sum256([]byte(server))
	hash := hex.EncodeToString(sum[:4])
	return strings.TrimRight(slug[:min(len(slug), maxStackName-9)], "-") + "-" + hash
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}
