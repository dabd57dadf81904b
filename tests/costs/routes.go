package costs

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/tests/meter"
	"github.com/virga-im/virga/tests/scripts"
)

// A metered is a server to which a script talks: after each request its workers do
// what is left to do, and who is sent to wait does so.
type metered struct {
	t   *testing.T
	s   *meter.Server
	url string
}

func (m *metered) Base() string { return m.url }

// Restart forgets what a process remembers.
func (m *metered) Restart(bool) {
	if err := m.s.Cold(); err != nil {
		m.t.Error(err)
	}
}

func (m *metered) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var resp *http.Response
	for err == nil {
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if resp, err = m.s.RoundTrip(r); err != nil {
			break
		}
		err = m.s.DeliverWithin(soon)
		to, nowhere := resp.Location()
		if nowhere != nil || resp.StatusCode != http.StatusTemporaryRedirect {
			break
		}
		r.URL = to
	}
	if err != nil {
		m.t.Errorf("%s %s: %v", r.Method, r.URL, err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

// soon is the longest delay of what is done before the next request.
const soon = 5 * time.Second

// unfit are the scripts that are not run.
var unfit = map[string]string{
	"rate_limits":        "the meter has none",
	"guessing":           "the meter has no rate limits",
	"registration_token": "the process of a local server makes the token",
	"interactive":        "as registration_token",
	"fallback":           "as registration_token",
	"event_stream":       "who types does not do so any more after a wait, which passes at once",
}

// told runs all request scripts, each against a server of its own, and returns the
// runs.
func told(t *testing.T) (all []meter.Run) {
	files, err := filepath.Glob("../scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var mu sync.Mutex
	t.Run("scripts", func(t *testing.T) {
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".txt")
			if unfit[name] != "" {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				script, err := scripts.Parse(file)
				if err != nil {
					t.Fatal(err)
				}
				m := &metered{t: t}
				srv := httptest.NewUnstartedServer(m)
				m.url = "http://" + srv.Listener.Addr().String()
				w, err := newWorld(meter.InQueues, append([]string{"-public-baseurl", m.url}, script.Flags...)...)
				if err != nil {
					t.Fatal(err)
				}
				m.s = w.Server
				srv.Start()
				defer func() {
					srv.Close()
					if err := w.Close(); err != nil {
						t.Error(err)
					}
				}()
				script.Run(t, m, "localhost")
				mu.Lock()
				defer mu.Unlock()
				all = append(all, w.Runs()...)
			})
		}
	})
	return all
}

// routesTable is routes.md.
func routesTable(list, first []meter.Run) string {
	by := map[string][]meter.Run{}
	for _, r := range list {
		if r.Status < http.StatusBadRequest {
			by[r.Name] = append(by[r.Name], r)
		}
	}
	known := functions()
	var w writer
	w.say("# What each route costs\n")
	w.say("Written by `go test ./tests/costs -update`. The mean of all calls of [the request scripts](../scripts) that succeed, each route by itself, without what its workers do after it; the units are counted. "+
		"Milliseconds are [assumed](costs.md#assumed), of a warm run and of one that starts cold and whose start (INIT) is billed; GB-seconds are of a mean run, of which %.0f %% are cold. "+
		"KB are of the bodies of request and answer. Dollars are for a million calls, everything from front door to log, without any free tier and after the free tiers of an account that does nothing else.\n", coldShare.value*100)
	w.say("The scripts have small rooms and short stories, and try what is rare as often as what is common: [costs.md](costs.md) has the acts that matter, in rooms of all sizes. `/sync` is each of its two requests in a wait.\n")
	w.head("route", "calls", "read units", "write units", "ms", "ms, cold", "GB-s", "KB", "full", "after free")
	row := func(title, name string) {
		runs := by[name]
		u := use(name, 0, len(runs), runs, 0, false)
		ms := u.milliseconds - initMS.value*coldShare.value
		b := u.bill.times(million)
		w.row(title, fmt.Sprint(len(runs)), number(u.reads), number(u.writes), fmt.Sprintf("%.0f", ms+nudge), fmt.Sprintf("%.0f", ms+initMS.value+nudge),
			mills(u.bill[gbSeconds]), number(u.bytes/1024), cents(b.full()), cents(b.afterFree()))
	}
	var never []string
	for _, r := range api.Routes() {
		title := "`" + r.Method() + " " + r.Path() + "`"
		if len(by[r.Name]) == 0 {
			never = append(never, title)
			continue
		}
		row(title, r.Name)
	}
	w.say("\nNo script calls, or the call has an outcome that only a server with other settings has: %s.\n", strings.Join(never, ", "))
	firstTable(&w, first)
	w.say("## Workers\n")
	w.say("A run each, as above: a batch of changes, or a message of a queue.\n")
	w.head("worker", "runs", "read units", "write units", "ms", "ms, cold", "GB-s", "KB", "full", "after free")
	for _, worker := range api.Workers() {
		if _, ok := known[worker.Name]; ok && len(by[worker.Name]) > 0 {
			row("`"+worker.Name+"`", worker.Name)
		}
	}
	return w.String()
}

// firstSync are the requests of somebody who logs in where nobody was for a while.
// tests/rehearsal makes the same ones.
func firstSync() ([]meter.Run, error) {
	w, err := newWorld(meter.InQueues)
	return in(w, err, func() ([]meter.Run, error) {
		all, err := w.people(1)
		if err != nil {
			return nil, err
		}
		if _, err := all[0].room(); err != nil {
			return nil, err
		}
		return w.metered(1, func(int) error {
			if err := w.Cold(); err != nil {
				return err
			}
			phone := &person{world: w}
			if _, _, err := phone.request("GET", "http://localhost:8008/_matrix/client/versions", nil); err != nil {
				return err
			}
			if err := phone.do("GET", "/login", nil); err != nil {
				return err
			}
			got, err := phone.call("POST", "/login", object{
				"type": "m.login.password", "password": password, "identifier": object{"type": "m.id.user", "user": all[0].name},
			})
			if err != nil {
				return err
			}
			phone.token = got["access_token"].(string)
			if err := phone.do("GET", "/pushrules/", nil); err != nil {
				return err
			}
			if err := phone.do("POST", "/user/"+all[0].id+"/filter", object{}); err != nil {
				return err
			}
			return phone.do("GET", "/sync", nil)
		})
	})
}

func firstTable(w *writer, list []meter.Run) {
	w.say("## From login to the first /sync\n")
	w.say("Nobody was there for a while: each request starts a function. Milliseconds are assumed; [tests/rehearsal](../rehearsal/cold_test.go) counts the same starts in the deployed shape, and says with `-v` how long they take on your machine.\n")
	w.head("route", "cold starts", "read units", "write units", "ms, cold", "GB-s")
	known := functions()
	var all store.Capacity
	msAll, gbAll := 0.0, 0.0
	for _, r := range list {
		f := known[r.Name]
		ms := f.milliseconds(r, false) + initMS.value*(1-coldShare.value)
		gb := ms / 1000 * float64(f.memoryMB) / 1024
		w.row("`"+r.Name+"`", "1", number(r.Reads), number(r.Writes), fmt.Sprintf("%.0f", ms+nudge), mills(gb))
		all.Reads, all.Writes, msAll, gbAll = all.Reads+r.Reads, all.Writes+r.Writes, msAll+ms, gbAll+gb
	}
	w.row("**all, one after another**", fmt.Sprint(len(list)), number(all.Reads), number(all.Writes), fmt.Sprintf("**%.0f**", msAll+nudge), mills(gbAll))
	w.say("")
}
