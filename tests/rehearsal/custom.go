package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/virga-im/virga/tests/rehearsal/template"
)

// maxCustom is how long CloudFormation is patient here with a custom resource;
// in earnest it is an hour.
const maxCustom = 30 * time.Second

// CustomEvent is what CloudFormation sends to the provider of a custom resource.
type CustomEvent struct {
	RequestType           string
	ResponseURL           string
	StackId               string
	RequestId             string
	LogicalResourceId     string
	PhysicalResourceId    string `json:",omitempty"`
	ResourceType          string
	ServiceToken          string
	ResourceProperties    map[string]any
	OldResourceProperties map[string]any `json:",omitempty"`
}

// CustomAnswer is what the provider answers.
type CustomAnswer struct {
	Status, Reason, PhysicalResourceId string
	Data                               map[string]any
	NoEcho                             bool
}

// customResources returns the logical ids of the custom resources.
func (s *Stack) customResources() (ids []string) {
	ids = s.Template.IDs("AWS::CloudFormation::CustomResource")
	types := map[string]bool{}
	for _, r := range s.Template.Resources {
		if strings.HasPrefix(r.Type, "Custom::") && !types[r.Type] {
			types[r.Type] = true
			ids = append(ids, s.Template.IDs(r.Type)...)
		}
	}
	return ids
}

// startCustomResources creates the custom resources, whose attributes other
// resources may need, and each other: one is made once its properties are known.
func (s *Stack) startCustomResources() error {
	waiting := s.customResources()
	for len(waiting) > 0 {
		var id string
		var unknown error
		for i := range waiting {
			if _, err := s.Template.Properties(waiting[i]); err != nil {
				unknown = err
				continue
			}
			id = waiting[i]
			waiting = slices.Delete(waiting, i, i+1)
			break
		}
		if id == "" {
			return unknown
		}
		answer, err := s.Custom(id, "Create", "", nil)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.custom[id] = map[string]any{"": answer.PhysicalResourceId}
		for name, v := range answer.Data {
			s.custom[id][name] = v
		}
		s.mu.Unlock()
	}
	return nil
}

// Custom sends an event of CloudFormation to the provider of a custom resource,
// and returns its answer. An answer that says FAILED is an error.
func (s *Stack) Custom(id, requestType, physical string, old map[string]any) (*CustomAnswer, error) {
	p, err := s.Template.Properties(id)
	if err != nil {
		return nil, err
	}
	token, _ := p["ServiceToken"].(string)
	answers := make(chan CustomAnswer, 1)
	bucket := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var a CustomAnswer
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &a)
		}
		if err != nil || r.Method != http.MethodPut || r.Header.Get("Content-Type") != "" || len(body) > 4096 {
			a = CustomAnswer{Status: "FAILED", Reason: fmt.Sprintf("%s of type %q with %d bytes: %v", r.Method, r.Header.Get("Content-Type"), len(body), err)}
		}
		select {
		case answers <- a:
		default: // the first answer counts
		}
	}))
	defer bucket.Close()
	event, err := json.Marshal(CustomEvent{
		RequestType: requestType, ResponseURL: bucket.URL + "/answer?signature=x%2Fy",
		StackId:   "arn:aws:cloudformation:" + template.Region + ":" + template.Account + ":stack/" + s.Template.Stack + "/8a6dd0f0-c6a4-11f0-9b5e-0affe8a4a5a5",
		RequestId: "f3b0c5a8-7f2e-4b0e-9d0c-2f6f3c1b7a11", LogicalResourceId: id, PhysicalResourceId: physical,
		ResourceType: s.Template.Resources[id].Type, ServiceToken: token, ResourceProperties: p, OldResourceProperties: old,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxCustom)
	defer cancel()
	_, failed := s.Lambda.Invoke(ctx, template.Name(token), event)
	select {
	case a := <-answers:
		if a.Status != "SUCCESS" {
			return &a, fmt.Errorf("%s of %s: %s: %s", requestType, id, a.Status, a.Reason)
		}
		return &a, nil
	case <-ctx.Done():
	case <-time.After(time.Second): // the function has ended
	}
	return nil, fmt.Errorf("%s of %s: the provider does not answer, and the stack waits for an hour: %v", requestType, id, failed)
}
