package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/mail"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/virga-im/virga/shared/config"
)

// options is what an administrator decides about a stack, as -c name=value or
// under "context" in cdk.json.
type options struct {
	serverName string // the part after the colon of user ids
	stage      string // dev: everything goes with the stack; prod: data stays
	layout     string // route: a function each; group: one for each set of grants
	sync       string // sqs: requests wait at queues; lambda: in their functions
	arch       string // arm64; host builds for this machine, for tests
	stack      string // name of the stack; follows from the server name
	domain     string // the host that clients use, if it is not CloudFront's own
	// certificate is the ARN of a certificate for domain in us-east-1, the only
	// region that CloudFront takes certificates from.
	certificate string
	zone        string // id of the hosted zone that gets the records of domain
	logDays     int    // how long logs are kept
	alarms      bool   // alarms and a dashboard
	alarmEmail  string // who is told of alarms and of the budget
	budget      string // what the account may cost, in US dollars a month
	generation  string // of the secret between the front door and functions
	// settings is the environment that all functions share.
	settings map[string]string
}

// The words of a stack itself, and those of shared/config with their variables.
// Secrets are not among them: whoever may read a stack may read its context.
// They are rows of the server table.
var (
	words = []string{
		"serverName", "stage", "layout", "sync", "arch", "stack", "domain", "certificateArn", "hostedZoneId",
		"logRetention", "alarms", "alarmEmail", "budget", "secretGeneration",
	}
	settings = map[string]string{
		"registration":       "VIRGA_REGISTRATION",
		"publicBaseurl":      "VIRGA_PUBLIC_BASEURL",
		"rateLimits":         "VIRGA_RATE_LIMITS",
		"presence":           "VIRGA_PRESENCE",
		"forgetRoomsOnLeave": "VIRGA_FORGET_ROOMS_ON_LEAVE",
		"maxUploadSize":      "VIRGA_MAX_UPLOAD_SIZE",
		"urlPreviews":        "VIRGA_URL_PREVIEWS",
		"notary":             "VIRGA_NOTARY",
		"turnUserLifetime":   "VIRGA_TURN_USER_LIFETIME",
		"supportPage":        "VIRGA_SUPPORT_PAGE",
		"supportEmail":       "VIRGA_SUPPORT_EMAIL",
		"supportMxid":        "VIRGA_SUPPORT_MXID",
		"logLevel":           "VIRGA_LOG_LEVEL",
	}
)

// maxStackName leaves the longest operationId of the specification, of 40
// characters, its place in a function name of 64.
const maxStackName = 23

// mistakes are sentences for the administrator: what is wrong with which word,
// and what to write instead. All of them are told at once.
type mistakes []string

func (m *mistakes) add(format string, args ...any) { *m = append(*m, fmt.Sprintf(format, args...)) }

func (m mistakes) Error() string {
	if len(m) == 1 {
		return m[0]
	}
	return fmt.Sprintf("%d mistakes in what was said about the stack:\n- %s", len(m), strings.Join(m, "\n- "))
}

// readOptions reads the context. Its error is of type mistakes.
func readOptions(context map[string]any) (options, error) {
	var wrong mistakes
	given := map[string]string{}
	for _, word := range slices.Sorted(maps.Keys(context)) {
		switch v := context[word]; {
		case v == nil || ofCDK(word):
		case !slices.Contains(words, word) && settings[word] == "":
			wrong.add("-c %s: there is no such word; there are %s", word, strings.Join(allWords(), ", "))
		case v == "":
			wrong.add("-c %s=: give it a value, or leave it out", word)
		default:
			given[word] = fmt.Sprint(v)
		}
	}
	either := func(word string, allowed ...string) string {
		v, ok := given[word]
		if ok && !slices.Contains(allowed, v) {
			wrong.add("-c %s=%s: it must be one of %s", word, v, strings.Join(allowed, ", "))
		}
		if !ok {
			return allowed[0]
		}
		return v
	}
	shaped := func(word string, shape *regexp.Regexp, explanation string) string {
		v := given[word]
		if v != "" && !shape.MatchString(v) {
			wrong.add("-c %s=%s: %s", word, v, explanation)
		}
		return v
	}
	o := options{
		serverName:  given["serverName"],
		stage:       either("stage", "dev", "prod"),
		layout:      either("layout", "route", "group"),
		sync:        either("sync", "sqs", "lambda"),
		arch:        either("arch", "arm64", "host"),
		stack:       shaped("stack", stackNames, fmt.Sprintf("it must be a letter followed by letters, digits and hyphens, at most %d in all", maxStackName)),
		domain:      shaped("domain", hosts, "it must be the host that clients use, such as matrix.example.org: in lower case, without https://, port and slash"),
		certificate: shaped("certificateArn", certificateARNs, "it must be the ARN of an ACM certificate in us-east-1: CloudFront takes no other"),
		zone:        shaped("hostedZoneId", zoneIDs, "it must be the id of a hosted zone of Route 53, such as Z0123456789ABC"),
		budget:      shaped("budget", dollars, "it must be a number of US dollars a month, such as 10"),
		alarms:      slices.Contains([]string{"on", "true"}, either("alarms", "off", "on", "false", "true")),
		alarmEmail:  given["alarmEmail"],
		generation:  shaped("secretGeneration", generations, "it must be a number, one more than at the deploy before: functions know the next secret, and none beyond it"),
	}
	if o.generation == "" {
		o.generation = "1"
	}
	o.logDays = o.readLogRetention(given["logRetention"], &wrong)
	o.checkTogether(given, &wrong)
	o.readSettings(given, &wrong)
	if o.stack == "" {
		o.stack = stackName(o.serverName)
	}
	if wrong != nil {
		return o, wrong
	}
	return o, nil
}

// allWords lists every word that may follow -c.
func allWords() []string { return append(slices.Clone(words), slices.Sorted(maps.Keys(settings))...) }

// ofCDK reports whether a key of the context is the CDK's own: a feature flag, a
// cached answer of an account, or what its command line keeps there.
func ofCDK(key string) bool {
	return strings.ContainsAny(key, "@:") || key == "cli-telemetry" || key == "acknowledged-issue-numbers"
}

// checkTogether checks the words that need each other.
func (o *options) checkTogether(given map[string]string, wrong *mistakes) {
	switch {
	case o.domain != "" && o.certificate == "":
		wrong.add("-c domain=%s needs -c certificateArn=…, a certificate for that name in us-east-1: CloudFront takes no other", o.domain)
	case o.domain == "" && o.certificate != "":
		wrong.add("-c certificateArn needs -c domain=…, the host that clients use")
	}
	if o.domain == "" && o.zone != "" {
		wrong.add("-c hostedZoneId needs -c domain=…, the host that gets records in that zone")
	}
	if address, err := mail.ParseAddress(o.alarmEmail); o.alarmEmail != "" && (err != nil || address.Address != o.alarmEmail) {
		wrong.add("-c alarmEmail=%s: it must be an e-mail address alone, such as admin@example.org", o.alarmEmail)
	}
	switch {
	case o.alarms && o.alarmEmail == "":
		wrong.add("-c alarms=on needs -c alarmEmail=…, or nobody would hear them")
	case o.budget != "" && o.alarmEmail == "":
		wrong.add("-c budget=%s needs -c alarmEmail=…, the address that is told when it is spent", o.budget)
	case o.alarmEmail != "" && !o.alarms && o.budget == "":
		wrong.add("-c alarmEmail needs -c alarms=on or -c budget=…: without them there is nothing to write about")
	}
}

// logRetentions are the days that CloudWatch Logs can keep logs for.
var logRetentions = []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

func (o *options) readLogRetention(days string, wrong *mistakes) int {
	switch {
	case days != "":
		n, err := strconv.Atoi(days)
		if err != nil || !slices.Contains(logRetentions, n) {
			wrong.add("-c logRetention=%s: CloudWatch keeps logs for one of %s days", days, strings.Trim(fmt.Sprint(logRetentions), "[]"))
		}
		return n
	case o.stage == "prod":
		return 30
	}
	return 7
}

// readSettings checks the words of shared/config one by one, by its own rules.
func (o *options) readSettings(given map[string]string, wrong *mistakes) {
	load := func(env map[string]string) error {
		_, err := config.Load(config.Input{Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
		return err
	}
	const serverName = "VIRGA_SERVER_NAME"
	if o.serverName == "" {
		wrong.add("say which server to deploy: -c serverName=example.org (the part after the colon of user ids; it cannot be changed later)")
	} else if err := load(map[string]string{serverName: o.serverName}); err != nil {
		wrong.add("-c serverName=%s: %s", o.serverName, strings.TrimPrefix(err.Error(), serverName+": "))
	}
	// Presence costs a write a minute and user, and more for everybody who sees
	// it; a function takes 6 MB in base64.
	o.settings = map[string]string{serverName: o.serverName, "VIRGA_PRESENCE": "off", "VIRGA_MAX_UPLOAD_SIZE": "4M"}
	for _, word := range slices.Sorted(maps.Keys(settings)) {
		v, ok := given[word]
		if !ok {
			continue
		}
		if err := load(map[string]string{settings[word]: v}); err != nil {
			wrong.add("-c %s=%s: %s", word, v, strings.TrimPrefix(err.Error(), settings[word]+": "))
		}
		o.settings[settings[word]] = v
	}
}

var (
	certificateARNs = regexp.MustCompile(`^arn:aws[a-z-]*:acm:us-east-1:\d{12}:certificate/[A-Za-z0-9-]+$`)
	stackNames      = regexp.MustCompile(fmt.Sprintf(`^[A-Za-z][A-Za-z0-9-]{0,%d}$`, maxStackName-1))
	hosts           = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$`)
	zoneIDs         = regexp.MustCompile(`^Z[A-Z0-9]{1,31}$`)
	generations     = regexp.MustCompile(`^[1-9][0-9]{0,5}$`)
	dollars         = regexp.MustCompile(`^([1-9][0-9]{0,8}(\.[0-9]{1,2})?|0\.([1-9][0-9]?|0[1-9]))$`)
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
