package services

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/virga-im/virga/tests/rehearsal/iam"
)

// maxRequest is more than any service takes in one request here.
const maxRequest = 64 << 20

// A Call is a kind of request.
type Call struct {
	Service   string // dynamodb, s3, sqs
	Operation string // such as TransactWriteItems
	Role      string // the logical id
	Session   string // the function
}

// A Fault is what goes wrong with a request. The zero value is nothing.
type Fault struct {
	Throttle   bool          // the service refuses to begin
	Delay      time.Duration // before the service sees it
	LoseAnswer bool          // it is done, and the connection breaks
}

// Inject asks for a fault before each request that is allowed, those of Root left
// out. Nil ends it.
func (s *Services) Inject(fault func(Call) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// ServeHTTP is the proxy.
func (s *Services) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	scope, err := parseScope(r)
	service, ok := s.apis[scope.service]
	if err != nil || !ok {
		http.Error(w, fmt.Sprintf("a request for the service %q, which the stack has not: %v", scope.service, err), http.StatusForbidden)
		return
	}
	s.mu.Lock()
	from, known := s.keys[scope.accessKeyID]
	s.mu.Unlock()
	if !known {
		service.fail(w, r, unknownKey, "The security token included in the request is invalid.")
		return
	}
	if err := scope.verify(r, body, from.Credentials, s.region()); err != nil {
		service.fail(w, r, badSignature, err.Error())
		return
	}
	s.answer(w, r, body, service, scope.service, from)
}

// answer asks the role, and for a fault, and passes the request on.
func (s *Services) answer(w http.ResponseWriter, r *http.Request, body []byte, service api, name string, from principal) {
	operation, needs := service.call(r, body)
	if from.root {
		service.serve(w, r, body, from)
		return
	}
	call := Call{name, operation, from.role.ID, from.session}
	s.mu.Lock()
	s.calls[call]++
	fault := s.fault
	s.mu.Unlock()
	if err := s.need(from, needs); err != nil {
		service.fail(w, r, denied, err.Error())
		return
	}
	var f Fault
	if fault != nil {
		f = fault(call)
	}
	if f.Throttle {
		service.fail(w, r, throttled, "Rate exceeded")
		return
	}
	select {
	case <-time.After(f.Delay):
	case <-r.Context().Done(): // the request has reached AWS all the same
	}
	if f.LoseAnswer {
		service.serve(discard{http.Header{}}, r, body, from)
		panic(http.ErrAbortHandler)
	}
	service.serve(w, r, body, from)
}

// need checks all that a request needs, and counts each.
func (s *Services) need(from principal, needs []iam.Request) error {
	var all []error
	for _, n := range needs {
		all = append(all, s.Ledger.Check(from.role.ARN, from.arn, n))
	}
	for _, err := range all {
		if err != nil {
			return err // AWS tells of one
		}
	}
	if len(needs) == 0 {
		return errors.New("a request that needs nothing is not understood")
	}
	return nil
}

// discard is an answer that nobody gets.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
