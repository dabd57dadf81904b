package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/tests/rehearsal/lambda"
	"github.com/virga-im/virga/tests/rehearsal/services"
)

// Everything that workers were ever told is told to them again, and nothing in any
// table is other than before.
func TestEventsAndMessagesThatComeAgainChangeNothing(t *testing.T) {
	t.Parallel()
	s := Deploy(t, Options{Context: map[string]string{"registration": "open", "rateLimits": "off", "presence": "off"}})
	alice, bob, room, event := talk(t, s)
	in := "/_matrix/client/v3/rooms/" + url.PathEscape(room)
	for i := range 10 {
		alice.do(t, 200, "PUT", fmt.Sprintf("%s/send/m.room.message/m%d", in, i), `{"msgtype":"m.text","body":"@bob:localhost"}`)
	}
	bob.do(t, 200, "POST", in+"/receipt/m.read/"+url.PathEscape(event), "{}")
	bob.do(t, 200, "PUT", in+"/typing/"+url.PathEscape("@bob:"+ServerName), `{"typing":true,"timeout":1000}`)
	bob.do(t, 200, "POST", in+"/leave", "{}")
	settle(t, s)
	before := s.tables(t)
	told := s.Told()
	if len(told) < 3 {
		t.Fatalf("workers were told %d things", len(told))
	}
	for _, e := range told {
		if _, err := s.Lambda.Invoke(t.Context(), e.Function, e.Event); err != nil {
			t.Errorf("%s fails the second time: %v", e.Function, err)
		}
	}
	settle(t, s)
	after := s.tables(t)
	for key, item := range before {
		if !reflect.DeepEqual(after[key], item) {
			t.Errorf("%s was\n%v\nand is\n%v", key, item, after[key])
		}
	}
	for key, item := range after {
		if _, ok := before[key]; !ok {
			t.Errorf("%s is new: %v", key, item)
		}
	}
	t.Logf("%d events again, %d items", len(told), len(before))
}

func settle(t *testing.T, s *Stack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Settle(ctx); err != nil {
		t.Fatal(err)
	}
}

// repeat sends a request until it is answered, as a client does.
func (p *person) repeat(t *testing.T, method, path, body string) []byte {
	t.Helper()
	for attempt := 0; ; attempt++ {
		r, err := http.NewRequestWithContext(t.Context(), method, p.s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+p.token)
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			var text []byte
			text, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				return text
			}
			if err == nil && (resp.StatusCode < 500 || attempt == 20) {
				t.Fatalf("%s %s: %s %s", method, path, resp.Status, text)
			}
		}
		if attempt == 20 {
			t.Fatal(err)
		}
	}
}

// timeline returns the texts of the messages that a person's first /sync has.
func (p *person) timeline(t *testing.T, room string) (texts []string) {
	t.Helper()
	filter := url.QueryEscape(`{"room":{"timeline":{"limit":100}}}`)
	var sync struct {
		Rooms struct {
			Join map[string]struct {
				Timeline struct {
					Events []struct{ Content struct{ Body string } }
				}
			}
		}
	}
	if err := json.Unmarshal(p.repeat(t, "GET", "/_matrix/client/v3/sync?filter="+filter, ""), &sync); err != nil {
		t.Fatal(err)
	}
	for _, e := range sync.Rooms.Join[room].Timeline.Events {
		if e.Content.Body != "" {
			texts = append(texts, e.Content.Body)
		}
	}
	return texts
}

// tables reads every item of every table.
func (s *Stack) tables(t *testing.T) map[string]store.Attrs {
	t.Helper()
	all := map[string]store.Attrs{}
	scan := aws.NewScan(s.options(s.Services.Root()))
	for _, table := range store.Tables {
		for it, err := range scan.Items(t.Context(), table) {
			if err != nil {
				t.Fatal(err)
			}
			all[table.Name+" "+it.Key.String()] = it.Attrs
		}
	}
	return all
}

// A function dies after each of its requests to DynamoDB in turn, or with its answer
// in its hands, and whoever asked asks again: every message is there once, in order,
// and whoever waits for it gets it.
func TestWhatDiesInTheMiddleIsDoneAgain(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	dying := map[string]int{} // how many requests a function may make yet
	s := Deploy(t, Options{
		Context: map[string]string{"registration": "open", "rateLimits": "off", "presence": "off"},
		Fault: func(function string, n int) lambda.Fault {
			if n%3 == 0 && (strings.HasSuffix(function, "_sendMessage") || strings.HasSuffix(function, "_fan_out") || strings.HasSuffix(function, "_sync")) {
				return lambda.LosesAnswer
			}
			return lambda.Fine
		},
		Expected: []string{"gets no answer"},
	})
	alice, bob, room, _ := talk(t, s)
	s.Services.Inject(func(c services.Call) services.Fault {
		mu.Lock()
		defer mu.Unlock()
		if left, ok := dying[c.Session]; ok {
			if left == 0 {
				delete(dying, c.Session)
				// What it asked for is done, and it never hears of it.
				time.AfterFunc(2*time.Millisecond, func() { s.Lambda.KillRunning(c.Session) })
				return services.Fault{LoseAnswer: true}
			}
			dying[c.Session] = left - 1
		}
		return services.Fault{}
	})
	defer s.Services.Inject(nil)
	sent := []string{"hello"} // in talk
	for i := range 12 {
		mu.Lock()
		dying[s.Template.Stack+"_sendMessage"] = i
		dying[s.Template.Stack+"_fan_out"] = i
		mu.Unlock()
		body := fmt.Sprint("message ", i)
		sent = append(sent, body)
		alice.repeat(t, "PUT", fmt.Sprintf("/_matrix/client/v3/rooms/%s/send/m.room.message/k%d", url.PathEscape(room), i), `{"msgtype":"m.text","body":"`+body+`"}`)
	}
	s.Services.Inject(nil)
	settle(t, s)
	if got := bob.timeline(t, room); !slices.Equal(got, sent) {
		t.Errorf("bob has\n%q\nand alice sent\n%q", got, sent)
	}
	died := lambda.Total(s.Functions()).Errors
	if died < 10 {
		t.Errorf("only %d invocations died", died)
	}
	t.Logf("%d invocations died", died)
}
