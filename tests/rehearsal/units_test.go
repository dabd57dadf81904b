package rehearsal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/tests/meter"
	"github.com/virga-im/virga/tests/rehearsal/services"
)

// A counted act is a request with the units that it consumed.
type countedAct struct {
	name          string
	reads, writes float64
}

// TestUnitsAreThoseOfTheMeter lets the same people do the same in the deployed
// shape, whose functions add up what a server with DynamoDB's API says that their
// calls consumed, and in the meter, which tests/costs believes.
func TestUnitsAreThoseOfTheMeter(t *testing.T) {
	t.Parallel()
	s := Deploy(t, Options{Once: true, Context: map[string]string{"registration": "open", "rateLimits": "off", "presence": "off"}})
	// Who moves the sender's log first, the request or the fan-out, is chance; in the
	// meter it is the request.
	worker := s.Template.Stack + "_fan_out"
	s.Services.Inject(func(c services.Call) services.Fault {
		if c.Session == worker {
			return services.Fault{Delay: 20 * time.Millisecond}
		}
		return services.Fault{}
	})
	lines := 0
	deployed := acts(t, s.URL, http.DefaultTransport, func() { settle(t, s) }, func() (a countedAct) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for ; lines < len(s.log); lines++ {
			_, line, _ := strings.Cut(s.log[lines], ": ")
			var request struct {
				Route  string
				RU, WU *float64
			}
			if err := json.Unmarshal([]byte(line), &request); err == nil && request.Route != "" && request.RU != nil && request.WU != nil {
				a = countedAct{request.Route, *request.RU, *request.WU}
			}
		}
		return a
	})
	m, err := meter.New(meter.Options{Args: []string{"-presence", "off"}, Waits: meter.InQueues, Queued: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	metered := acts(t, "http://localhost:8008", m, func() {
		if err := m.Deliver(); err != nil {
			t.Fatal(err)
		}
	}, func() (a countedAct) {
		for _, r := range m.Runs() {
			if !r.Worker {
				a = countedAct{r.Name, r.Reads, r.Writes}
			}
		}
		return a
	})
	for _, name := range slices.Sorted(maps.Keys(s.Functions())) {
		if c := s.Functions()[name]; c.Invocations > 0 {
			t.Logf("%-40s %3d runs of %6.2f ms on this machine", name, c.Invocations, float64(c.Run.Microseconds())/1000/float64(c.Invocations))
		}
	}
	for i, d := range deployed {
		t.Logf("%-32s %5.1f read and %5.1f write units, metered %5.1f and %5.1f", d.name, d.reads, d.writes, metered[i].reads, metered[i].writes)
		if d != metered[i] {
			t.Errorf("%s: the meter counts otherwise", d.name)
		}
	}
}

// acts are requests of which last tells what the last one consumed. Each is done
// once before it counts, so that what a function remembers is in its memory.
func acts(t *testing.T, base string, through http.RoundTripper, settled func(), last func() countedAct) (all []countedAct) {
	t.Helper()
	do := func(token, method, path string, body any) map[string]any {
		t.Helper()
		var sent io.Reader
		if body != nil {
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			sent = bytes.NewReader(text)
		}
		r, err := http.NewRequestWithContext(t.Context(), method, base+"/_matrix/client/v3"+path, sent)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := (&http.Client{Transport: through}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got := map[string]any{}
		b, err := io.ReadAll(resp.Body)
		if err == nil {
			err = json.Unmarshal(b, &got)
		}
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d %s, %v", method, path, resp.StatusCode, b, err)
		}
		return got
	}
	count := func(name string, act func()) {
		t.Helper()
		for range 2 {
			settled()
			last()
			act()
		}
		settled()
		a := last()
		a.name = name
		all = append(all, a)
	}
	names, tokens := 0, []string{}
	register := func() {
		names++
		got := do("", "POST", "/register", map[string]any{"username": fmt.Sprintf("user%02d", names), "password": "a password", "auth": map[string]any{"type": "m.login.dummy"}})
		tokens = append(tokens, got["access_token"].(string))
	}
	for range 10 {
		register()
		do(tokens[names-1], "GET", "/sync", nil)
	}
	var room string
	create := func() {
		room = do(tokens[0], "POST", "/createRoom", map[string]any{"preset": "public_chat", "name": "Office"})["room_id"].(string)
	}
	count("register", register)
	count("createRoom", create)
	sent := 0
	send := func() {
		sent++
		do(tokens[0], "PUT", fmt.Sprintf("/rooms/%s/send/m.room.message/%03d", url.PathEscape(room), sent), map[string]any{"msgtype": "m.text", "body": strings.Repeat("word ", 200)})
	}
	for _, size := range []int{2, 10} {
		create()
		for _, token := range tokens[1:size] {
			settled()
			do(token, "POST", "/rooms/"+url.PathEscape(room)+"/join", map[string]any{})
		}
		count(fmt.Sprintf("send to %d", size), send)
	}
	since := do(tokens[1], "GET", "/sync", nil)["next_batch"].(string)
	sync := func() { do(tokens[1], "GET", "/sync?timeout=0&since="+since, nil) }
	count("/sync, nothing new", sync)
	send()
	count("/sync, a message", sync)
	count("/messages", func() { do(tokens[1], "GET", "/rooms/"+url.PathEscape(room)+"/messages?dir=b&limit=20", nil) })
	return all
}
