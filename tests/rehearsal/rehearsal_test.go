package rehearsal

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What CloudFormation does with the custom resources of a stack that is deleted.
func TestTheStackGoesAway(t *testing.T) {
	t.Parallel()
	s := Deploy(t, Options{Context: map[string]string{"registration": "open"}})
	if _, err := s.Services.Queues.Create(s.Template.Stack+"_wait_x", nil); err != nil {
		t.Fatal(err)
	}
	s.Services.SetStatus("DELETE_IN_PROGRESS")
	for _, id := range s.customResources() {
		physical, err := s.Template.Ref(id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Custom(id, "Delete", physical.(string), nil); err != nil {
			t.Error(err)
		}
	}
	if left := s.Services.Queues.Names(s.Template.Stack + "_wait_"); len(left) > 0 {
		t.Errorf("the queues %v are left", left)
	}
}

// Who finds the address of a gateway or of a function URL is told nothing.
func TestNothingIsAnsweredPastTheDoor(t *testing.T) {
	t.Parallel()
	s := Deploy(t, Options{Context: map[string]string{"registration": "open"}})
	hosts := 0
	for host, origin := range s.origins {
		hosts++
		for _, path := range []string{"/_matrix/client/versions", "/_matrix/client/v3/sync", "/nothing"} {
			w, r := httptest.NewRecorder(), httptest.NewRequest("GET", path, nil)
			r.Host = host
			origin.ServeHTTP(w, r)
			if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "M_FORBIDDEN") {
				t.Errorf("%s%s: %d %s", host, path, w.Code, w.Body)
			}
		}
	}
	if want := len(s.Template.IDs("AWS::ApiGatewayV2::Api")) + len(s.Template.IDs("AWS::Lambda::Url")); hosts != want {
		t.Errorf("%d origins, want %d", hosts, want)
	}
}
