// Package services is what a rehearsal has in the place of DynamoDB, S3 and SQS:
// servers on loopback behind one proxy, which asks the roles of the stack for
// every request, as IAM does, and counts what they were needed for.
//
// What there is, is what the template says: the tables with their keys, the
// queues with their attributes, the bucket.
//
// Functions reach it by AWS_ENDPOINT_URL and with the credentials of Assume. What
// AWS does on behalf of a role, such as invoking a function or fetching messages,
// is asked for by Check.
package services

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/tests/rehearsal/iam"
	"github.com/virga-im/virga/tests/rehearsal/template"
)

// Options says which stack the services are of.
type Options struct {
	Template *template.Template
	// OnWrite is told of every item of a table with a stream that may have been
	// written, before the function that wrote it has its answer. It may be called
	// by many at once.
	OnWrite func(Change)
	// Settle is how long a new queue cannot be used yet: up to a second on AWS.
	Settle time.Duration
	// Invoke is what a function does that invokes another, in a goroutine of its
	// own. Without it no function may.
	Invoke func(function string, event []byte)
}

// Services run for the length of a test. All methods are safe for concurrent use.
type Services struct {
	// Endpoint is the URL that is AWS_ENDPOINT_URL of functions.
	Endpoint string
	// Ledger decides for the roles of the stack, by their ARNs.
	Ledger *iam.Ledger
	// Queues are those of the stack and those that it makes. What is done here
	// directly is not checked.
	Queues *awstest.Queues

	template *template.Template
	onWrite  func(Change)
	roles    map[string]iam.Role // by ARN
	apis     map[string]api      // by the name of the service in signatures

	mu    sync.Mutex
	keys  map[string]principal // by access key id
	fault func(Call) Fault
	calls map[Call]int
	// status is that of the stack.
	status string
}

// principal is who a request is from: a session of a role, or the tests.
type principal struct {
	Credentials
	arn     string // arn:aws:sts::…:assumed-role/<role>/<session>
	role    iam.Role
	session string
	root    bool // may do everything
	unseen  bool // no stream tells what it writes
}

// Credentials are what the SDK signs requests with.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
}

// Environment returns the environment variables of the credentials.
func (c Credentials) Environment() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + c.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + c.SecretAccessKey, "AWS_SESSION_TOKEN=" + c.SessionToken}
}

// An api is one of the services behind the proxy.
type api interface {
	// call returns the name of the operation that a request is, and what it needs
	// of the role: at least one action.
	call(r *http.Request, body []byte) (operation string, needs []iam.Request)
	// serve answers a request that is allowed.
	serve(w http.ResponseWriter, r *http.Request, body []byte, from principal)
	// fail answers a request that is not.
	fail(w http.ResponseWriter, r *http.Request, why failure, message string)
}

// failure is why a request is not answered as it should be.
type failure int

const (
	denied failure = iota
	unknownKey
	badSignature
	throttled
)

// Start starts the services of a stack, with all that its template says they
// hold. It fails the test if the template cannot be understood, and skips it
// where the DynamoDB-API server does not run.
func Start(t testing.TB, o Options) *Services {
	t.Helper()
	roles, err := iam.Roles(o.Template)
	if err != nil {
		t.Fatal("the roles of the stack: ", err)
	}
	s := &Services{
		Ledger: iam.NewLedger(roles...), template: o.Template, onWrite: o.OnWrite,
		roles: map[string]iam.Role{}, keys: map[string]principal{}, calls: map[Call]int{}, status: "CREATE_COMPLETE",
	}
	for _, r := range roles {
		s.roles[r.ARN] = r
	}
	database, err := newDynamoDB(s, awstest.EmptyDynamoDB(t))
	if err != nil {
		t.Fatal("the tables of the stack: ", err)
	}
	objects, err := newS3(s)
	if err != nil {
		t.Fatal("the buckets of the stack: ", err)
	}
	s.Queues = awstest.NewQueues(awstest.QueuesOptions{
		BaseURL: "https://sqs." + s.region() + "." + o.Template.Pseudo["AWS::URLSuffix"], Account: s.account(), Region: s.region(),
	})
	if err := s.createQueues(); err != nil {
		t.Fatal("the queues of the stack: ", err)
	}
	s.Queues.Settle(o.Settle)
	s.apis = map[string]api{"dynamodb": database, "s3": objects, "sqs": &sqsAPI{s}, "cloudformation": cloudFormation{s}, "lambda": lambdaAPI{s, o.Invoke}}
	srv := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Queues.Close() // a receive that waits would keep the server from closing
		srv.Close()
	})
	s.Endpoint = srv.URL
	return s
}

func (s *Services) region() string  { return s.template.Pseudo["AWS::Region"] }
func (s *Services) account() string { return s.template.Pseudo["AWS::AccountId"] }

// arn returns an ARN in the region and account of the stack.
func (s *Services) arn(service, resource string) string {
	return "arn:" + s.template.Pseudo["AWS::Partition"] + ":" + service + ":" + s.region() + ":" + s.account() + ":" + resource
}

// Assume returns credentials of the role with the ARN for a session, such as the
// name of a function, which denials name. The role must trust the service that
// assumes it, such as lambda.amazonaws.com.
func (s *Services) Assume(role, service, session string) (Credentials, error) {
	r, ok := s.roles[role]
	if !ok {
		return Credentials{}, fmt.Errorf("the stack has no role %s", role)
	}
	if !slices.Contains(r.Trusts, service) {
		return Credentials{}, fmt.Errorf("%s may not assume the role %s, which trusts %s", service, r.ID, strings.Join(r.Trusts, ", "))
	}
	return s.admit(principal{arn: s.assumed(role, session), role: r, session: session}), nil
}

// assumed is the principal of a session of a role.
func (s *Services) assumed(role, session string) string {
	return "arn:" + s.template.Pseudo["AWS::Partition"] + ":sts::" + s.account() + ":assumed-role/" + template.Name(role) + "/" + session
}

// Root returns credentials that may do everything and whose requests are not
// counted, for what a test does itself.
func (s *Services) Root() Credentials {
	return s.admit(principal{arn: "arn:aws:iam::" + s.account() + ":root", root: true})
}

// Unseen returns credentials as Root does, of whose writes no stream tells: as if
// the changes had been lost.
func (s *Services) Unseen() Credentials {
	return s.admit(principal{arn: "arn:aws:iam::" + s.account() + ":user/unseen", root: true, unseen: true})
}

// admit gives a principal credentials, always the same ones.
func (s *Services) admit(p principal) Credentials {
	sum := sha256.Sum256([]byte(p.arn))
	p.AccessKeyID = "ASIA" + base32.StdEncoding.EncodeToString(sum[:10])
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.keys[p.AccessKeyID]; ok {
		return known.Credentials
	}
	p.SecretAccessKey, p.SessionToken = rand.Text(), rand.Text()
	s.keys[p.AccessKeyID] = p
	return p.Credentials
}

// Check asks whether the role with the ARN may do something that AWS does on its
// behalf, and counts it. The error is an *iam.Denied.
func (s *Services) Check(role, action, resource string) error {
	return s.Ledger.Check(role, s.assumed(role, "aws"), iam.Request{Action: action, Resource: resource})
}

// LogStream returns the ARN of a stream of a log group, which logs:CreateLogStream
// and logs:PutLogEvents are about.
func (s *Services) LogStream(group, stream string) string {
	return s.arn("logs", "log-group:"+group+":log-stream:"+stream)
}

// Function returns the ARN of a function by its name.
func (s *Services) Function(name string) string { return s.arn("lambda", "function:"+name) }

// Calls returns how often which operation was called by whom, those of Root
// left out: what AWS would bill.
func (s *Services) Calls() map[Call]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// Report writes the calls, the denials and the resources that are granted and
// that nobody needed, for people.
func (s *Services) Report() string {
	var b strings.Builder
	calls := s.Calls()
	sum := map[string]int{}
	for c, n := range calls {
		sum[c.Service+":"+c.Operation] += n
	}
	for _, name := range slices.SortedFunc(maps.Keys(sum), func(a, b string) int { return cmp.Or(sum[b]-sum[a], strings.Compare(a, b)) }) {
		fmt.Fprintf(&b, "%7d %s\n", sum[name], name)
	}
	for _, d := range s.Ledger.Denials() {
		fmt.Fprintln(&b, d)
	}
	for _, u := range s.Ledger.UnusedResources() {
		fmt.Fprintln(&b, u)
	}
	return b.String()
}
