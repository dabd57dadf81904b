package account

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Function is a function of Lambda.
type Function struct {
	Name, Description string
	// Timeout is how long it may run, in seconds.
	Timeout int
}

// Functions returns those whose names begin with the prefix.
func (a *Account) Functions(ctx context.Context, prefix string) ([]Function, error) {
	var all []Function
	for marker := ""; ; {
		var answer struct {
			Functions []struct {
				FunctionName, Description string
				Timeout                   int
			}
			NextMarker string
		}
		q := url.Values{"MaxItems": {"50"}}
		if marker != "" {
			q.Set("Marker", marker)
		}
		if err := a.lambda(ctx, http.MethodGet, "/2015-03-31/functions/?"+q.Encode(), nil, &answer); err != nil {
			return nil, err
		}
		for _, f := range answer.Functions {
			if strings.HasPrefix(f.FunctionName, prefix) {
				all = append(all, Function{f.FunctionName, f.Description, f.Timeout})
			}
		}
		if marker = answer.NextMarker; marker == "" {
			return all, nil
		}
	}
}

// Stopped reports whether no run of a function is let begin.
func (a *Account) Stopped(ctx context.Context, function string) (bool, error) {
	var answer struct{ ReservedConcurrentExecutions *int }
	err := a.lambda(ctx, http.MethodGet, "/2019-09-30/functions/"+function+"/concurrency", nil, &answer)
	return answer.ReservedConcurrentExecutions != nil && *answer.ReservedConcurrentExecutions == 0, err
}

// Stop lets no run of a function begin. Those that run go on to their end.
func (a *Account) Stop(ctx context.Context, function string) error {
	return a.lambda(ctx, http.MethodPut, "/2017-10-31/functions/"+function+"/concurrency", map[string]int{"ReservedConcurrentExecutions": 0}, nil)
}

// Start ends Stop. The function may run as often as the account lets it.
func (a *Account) Start(ctx context.Context, function string) error {
	return a.lambda(ctx, http.MethodDelete, "/2017-10-31/functions/"+function+"/concurrency", nil, nil)
}

// Describe changes the description of a function. Lambda takes that, like any change of
// its configuration, as a reason to run it in new processes.
func (a *Account) Describe(ctx context.Context, function, description string) error {
	return a.lambda(ctx, http.MethodPut, "/2015-03-31/functions/"+function+"/configuration", map[string]string{"Description": description}, nil)
}

// lambda asks Lambda, and asks again while it is asked too often.
func (a *Account) lambda(ctx context.Context, method, path string, body, answer any) error {
	q := question{service: "lambda", region: a.cfg.Region, method: method, path: path}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		q.body, q.header = string(text), map[string]string{"Content-Type": "application/json"}
	}
	decode := json.Unmarshal
	if answer == nil {
		decode = func([]byte, any) error { return nil }
	}
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		err := a.ask(ctx, q, decode, answer)
		if !errors.Is(err, errBusy) || pause > 30*time.Second {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errBusy is in the chain of refusals that say nothing but not now.
var errBusy = errors.New("it is busy")

// Trigger is an event source mapping: what has Lambda run a function with what comes out
// of a stream or a queue.
type Trigger struct {
	ID string
	// Function is the ARN of the function.
	Function string
	// State is Enabled or Disabled, or what is between them.
	State string
}

// Triggers returns those of the functions whose names begin with the prefix.
func (a *Account) Triggers(ctx context.Context, prefix string) ([]Trigger, error) {
	var all []Trigger
	for marker := ""; ; {
		var answer struct {
			EventSourceMappings []struct{ UUID, FunctionArn, State string }
			NextMarker          string
		}
		q := url.Values{"MaxItems": {"100"}}
		if marker != "" {
			q.Set("Marker", marker)
		}
		if err := a.lambda(ctx, http.MethodGet, "/2015-03-31/event-source-mappings/?"+q.Encode(), nil, &answer); err != nil {
			return nil, err
		}
		for _, m := range answer.EventSourceMappings {
			if strings.Contains(m.FunctionArn, ":function:"+prefix) {
				all = append(all, Trigger{m.UUID, m.FunctionArn, m.State})
			}
		}
		if marker = answer.NextMarker; marker == "" {
			return all, nil
		}
	}
}

// Enable turns a trigger on or off, which takes effect within a minute or so.
func (a *Account) Enable(ctx context.Context, id string, on bool) error {
	return a.lambda(ctx, http.MethodPut, "/2015-03-31/event-source-mappings/"+id, map[string]bool{"Enabled": on}, nil)
}
