// Package imports holds the rule that imports run one way.
package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/virga-im/virga/"

// domains in their one written order: each may import those before it.
var domains = []string{
	"userlog", "accounts", "media", "directory", "federation", "encryption",
	"push", "timeline", "rooms", "gateway", "moderation", "appservice",
}

// contracts are what a domain is written against.
var contracts = []string{"shared/mxerr", "shared/grant", "shared/clock", "shared/store", "shared/queue", "shared/blob", "shared/wake"}

// A rule says what the packages that match may import besides the standard
// library and each other. Patterns are of path.Match, where a pattern that ends
// in /... also matches what is below. The first rule that matches counts.
type rule struct {
	packages string
	may      []string
	why      string
}

func rules() []rule {
	all := []rule{
		{"events/receipt", []string{"events/auth", "events/canonicaljson", "events/id", "events/pdu", "events/roomversion"},
			"the checks on receipt are Matrix's rules in order, over what the caller loaded"},
		{"events/...", []string{"golang.org/x/crypto/..."},
			"what Matrix says is pure: no I/O, no clock, no AWS"},
		{"shared/grant", nil, "everything checks grants, so they stand on nothing"},
		{"shared/mxerr", nil, "every layer returns Matrix errors, so they stand on nothing"},
		{"shared/clock", nil, "everything tells the time, so it stands on nothing"},
		{"shared/outbound", nil, "an HTTP client knows nothing of what is requested"},
		{"shared/config", []string{"events/id"},
			"what an administrator decides is data; events/id knows what a server name is"},
	}
	all = append(all, rule{"shared/store/storetest", append([]string{"github.com/segmentio/ksuid"}, contracts...),
		"the contract as a test"})
	for _, c := range []string{"store", "queue", "blob", "wake"} {
		all = append(all, rule{"shared/" + c + "/...", []string{"shared/grant", "shared/clock"},
			"a contract knows neither its implementations nor Matrix"})
	}
	for i, d := range domains {
		may := append([]string{
			"events/...",
			"github.com/segmentio/ksuid", "github.com/golang-jwt/jwt/v5", "golang.org/x/crypto/...", "golang.org/x/sync/...",
		}, contracts...)
		for _, before := range domains[:i] {
			may = append(may, "shared/"+before+"/...")
		}
		if d == "appservice" {
			may = append(may, "gopkg.in/yaml.v3") // registrations are YAML
		}
		if d == "gateway" {
			may = append(may, "shared/outbound") // its requests go where users say
		}
		if d == "timeline" {
			may = append(may, "golang.org/x/text/...") // words, in all scripts
		}
		if d == "media" {
			may = append(may, "golang.org/x/image/...") // thumbnails
		}
		all = append(all, rule{"shared/" + d + "/...", may, "a domain stands on Matrix, the contracts, and the domains before it"})
	}
	return append(all,
		rule{"shared/archive", append(slices.Clone(contracts), "shared/accounts", "shared/federation", "shared/push", "shared/rooms", "shared/timeline/...", "shared/userlog"),
			"a whole server is all rows; which ones are left or changed on the way is known by the domains that write them"},
		rule{"shared/home", append(under("shared/", domains), "shared/outbound", "shared/config", "shared/store", "shared/queue", "shared/blob", "shared/wake", "shared/clock", "shared/grant"),
			"one homeserver is built of its domains, on any implementation of the contracts"},
		rule{"shared/route", []string{"shared/home", "shared/accounts", "shared/config", "shared/grant", "shared/mxerr", "shared/clock", "shared/store", "shared/queue", "shared/wake", "github.com/segmentio/ksuid"},
			"a declaration names its trigger and its caller; accounts has the session, store and queue have the triggers"},
		rule{"shared/local/...", append(contractsBut("shared/mxerr"), "github.com/cockroachdb/pebble/v2/..."),
			"the embedded stores have no rules of their own"},
		rule{"shared/aws/awstest", []string{"..."}, "it starts servers that imitate AWS, for tests"},
		rule{"shared/aws/...", append(contractsBut("shared/mxerr"), "github.com/aws/aws-sdk-go-v2/...", "github.com/aws/smithy-go/...", "github.com/aws/aws-lambda-go/..."),
			"the only user of the AWS SDK has no rules of its own"},
		rule{"functions/api", []string{"functions/...", "shared/route"},
			"the list of routes is made of the sections' lists"},
		rule{"functions/workers/...", append(under("shared/", domains), "events/...", "shared/route", "shared/home", "shared/grant", "shared/mxerr", "shared/store", "shared/queue"),
			"workers get changes and messages"},
		rule{"functions/*/*", append(under("shared/", domains), "events/...", "shared/route", "shared/home", "shared/grant", "shared/mxerr"),
			"a section declares routes over the domains, and never looks at another section or at a store"},
		rule{"functions", []string{"functions/api", "shared/route", "shared/home", "shared/config", "shared/aws/...", "shared/clock", "shared/queue", "shared/store"},
			"the Lambda program picks the adapter that fits a worker's trigger"},
		rule{"infra/local/...", []string{"functions/api", "infra/admin", "shared/userlog", "shared/route", "shared/home", "shared/config", "shared/local", "shared/archive", "shared/accounts", "shared/federation", "shared/grant", "shared/clock", "shared/store", "shared/queue", "shared/wake", "events/id", "gopkg.in/yaml.v3"},
			"the local process; it makes the registration token and imports the signing key of its flags"},
		rule{"infra/admin", []string{"shared/accounts", "shared/grant", "events/id"},
			"what an operator does to accounts is the domain's, on either world's stores"},
		rule{"infra/aws/admin", []string{"infra/admin", "shared/accounts", "shared/userlog", "shared/aws/...", "shared/clock"},
			"the operator's commands on the tables of a stack are none of the CDK app"},
		rule{"infra/aws/move", []string{"shared/archive", "shared/aws/...", "shared/config", "shared/queue", "shared/store"},
			"the command that moves a server out of a stack or into one is none of the CDK app: it uses the stores"},
		rule{"infra/aws/smoke/...", nil,
			"what looks at a server from outside shares no mistake with it"},
		rule{"infra/aws/...", []string{"functions/api", "shared/aws/account", "shared/aws/places", "shared/route", "shared/grant", "shared/store", "shared/queue", "shared/config", "github.com/aws/aws-cdk-go/...", "github.com/aws/constructs-go/...", "github.com/aws/jsii-runtime-go/..."},
			"the CDK app reads declarations and runs none; before a deploy it asks the account"},
		rule{"tests/...", []string{"..."}, "tests may use everything"},
	)
}

// never is what a program must not even link.
var never = []struct{ program, module, why string }{
	{"functions/...", "github.com/cockroachdb/pebble", "functions have no disk: the embedded store would only make them start slower"},
	{"functions/...", "github.com/aws/aws-cdk-go", "the CDK is a 445 MB module that takes over a minute to compile"},
	{"functions/...", "github.com/johannesboyne/", "imitations of AWS are for tests"},
	{"functions/...", "text/template", "a template may call any method, so the program would have every method of every type: 8 MB more at each cold start"},
	{"functions/...", "github.com/aws/aws-sdk-go-v2/config", "a function has its credentials in the environment: files, single sign-on and five services' clients would be 3 MB more at each cold start"},
	{"infra/local/...", "github.com/aws/", "a local run must not compile or download anything of AWS"},
	{"shared/...", "github.com/aws/aws-cdk-go", "the CDK belongs to infra/aws alone"},
	{"events/...", "github.com/", "what Matrix says needs no module but x/crypto"},
}

type pkg struct {
	ImportPath    string
	Imports, Deps []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	// The tag is that of the functions: see infra/aws/bootstrap.
	cmd := exec.Command("go", "list", "-e", "-tags=lambda.norpc", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = "../.."
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(out); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		all = append(all, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestImportsRunOneWay(t *testing.T) {
	rules := rules()
	for _, p := range packages(t) {
		i := slices.IndexFunc(rules, func(r rule) bool { return matches(r.packages, p.ImportPath) })
		if i < 0 {
			t.Errorf("%s belongs to no rule: where does it live?", p.ImportPath)
			continue
		}
		r := rules[i]
		for _, imp := range p.Imports {
			ours := strings.TrimPrefix(imp, module)
			std := imp == ours && !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".")
			sibling := strings.HasSuffix(r.packages, "/...") && ours != imp && matches(r.packages, ours)
			if std || sibling || slices.ContainsFunc(r.may, func(m string) bool { return matches(m, ours) }) {
				continue
			}
			t.Errorf("%s imports %s: %s", p.ImportPath, ours, r.why)
		}
	}
}

func TestProgramsLinkOnlyWhatTheyNeed(t *testing.T) {
	for _, p := range packages(t) {
		for _, n := range never {
			if !matches(n.program, p.ImportPath) {
				continue
			}
			for _, dep := range p.Deps {
				if strings.HasPrefix(dep, n.module) && !strings.HasPrefix(dep, module) {
					t.Errorf("%s links %s: %s", p.ImportPath, dep, n.why)
					break
				}
			}
		}
	}
}

func TestTheTableCatchesWhatItForbids(t *testing.T) {
	rules := rules()
	for _, c := range []struct{ from, to string }{
		{"events/pdu", "shared/clock"},
		{"shared/accounts", "shared/rooms"},
		{"shared/rooms", "shared/home"},
		{"functions/client/login", "functions/client/sync"},
		{"functions/client/login", "shared/store"},
		{"shared/local", "github.com/aws/aws-sdk-go-v2/service/s3"},
		{"infra/local", "shared/aws"},
	} {
		i := slices.IndexFunc(rules, func(r rule) bool { return matches(r.packages, c.from) })
		if i < 0 || slices.ContainsFunc(rules[i].may, func(m string) bool { return matches(m, c.to) }) {
			t.Errorf("%s may import %s", c.from, c.to)
		}
	}
}

func matches(pattern, name string) bool {
	if pattern == "..." {
		return true
	}
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == dir || strings.HasPrefix(name, dir+"/")
	}
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

func under(prefix string, names []string) []string {
	var all []string
	for _, n := range names {
		all = append(all, prefix+n+"/...")
	}
	return all
}

func contractsBut(but string) []string {
	return slices.DeleteFunc(slices.Clone(contracts), func(c string) bool { return c == but })
}
