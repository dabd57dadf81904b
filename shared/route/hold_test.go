package route

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-im/virga/shared/wake"
	"github.com/virga-im/virga/shared/wake/waketest"
)

// sentAway is a service that sends everybody who may to one place.
type sentAway struct{ *board }

func (s sentAway) Arm(ctx context.Context, w wake.Wait) (wake.Ticket, error) {
	k, err := s.board.Arm(ctx, w)
	if w.Connection == "" {
		return k, err
	}
	return toPlace{k}, err
}

type toPlace struct{ wake.Ticket }

func (toPlace) Hold(context.Context) (wake.Outcome, error) {
	return wake.Outcome{Elsewhere: "place/wait"}, nil
}

// get makes a request with an access token, if there is one.
func get(h http.Handler, target, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// doneOf is where the client of a redirect goes when its wait is over.
func doneOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	to, ok := strings.CutSuffix(w.Header().Get("Location"), "/place/wait")
	if w.Code != http.StatusTemporaryRedirect || !ok || !strings.HasPrefix(to, "/hold/poll/") {
		t.Fatalf("%d to %q", w.Code, w.Header().Get("Location"))
	}
	if n := len(strings.TrimPrefix(to, "/hold/poll/")); n > maxTicket {
		t.Errorf("the ticket has %d characters", n)
	}
	return to + "/place/done"
}

func refused(w *httptest.ResponseRecorder, status int, code, words string) bool {
	var e struct{ Errcode, Error string }
	return w.Code == status && json.Unmarshal(w.Body.Bytes(), &e) == nil && e.Errcode == code && strings.Contains(e.Error, words)
}

// Browsers ask before each new URL, so an idle client must see the same one again
// and again; and it must be good until the client is back from there.
func TestTheURLOfAWaitStaysTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at a full hour
		b := newBoard()
		h := serve(t, sentAway{b}, io.Discard, b.poll())
		const target = "/poll?timeout=30000&since=s"
		first := doneOf(t, get(h, target, "token"))
		time.Sleep(54 * time.Minute)
		if again := doneOf(t, get(h, target, "token")); again != first {
			t.Errorf("%s became %s", first, again)
		}
		time.Sleep(5*time.Minute + 59*time.Second)
		if w := get(h, first, "token"); w.Code != 200 {
			t.Errorf("at the end of its hour: %d %s", w.Code, w.Body)
		}
		second := doneOf(t, get(h, target, "token"))
		time.Sleep(time.Second)
		if w := get(h, first, "token"); !refused(w, 400, "M_INVALID_PARAM", "is over") {
			t.Errorf("after its hour: %d %s", w.Code, w.Body)
		}
		if w := get(h, second, "token"); w.Code != 200 {
			t.Errorf("a request that began before the hour: %d %s", w.Code, w.Body)
		}
	})
}

func TestATicketIsGoodForOneRequestOfOneSession(t *testing.T) {
	b := newBoard()
	poll := b.poll()
	other := b.poll()
	other.Name, other.Pattern = "other", "GET /other"
	h := serve(t, sentAway{b}, io.Discard, poll, other)
	done := doneOf(t, get(h, "/poll?timeout=30000&since=mine", "token"))
	looks := b.looks

	bad := map[string]*httptest.ResponseRecorder{
		"another token":         get(h, done, "another"),
		"no token":              get(h, done, ""),
		"another route":         get(h, strings.Replace(done, "/hold/poll/", "/hold/other/", 1), "token"),
		"no ticket":             get(h, "/hold/poll/x/place/done", "token"),
		"the token in the URL":  get(h, done+"?access_token=token", ""),
		"a ticket of megabytes": get(h, "/hold/poll/"+strings.Repeat("A", 1<<20)+"/place/done", "token"),
	}
	const from = len("/hold/poll/")
	for i := from; i < len(done)-len("/place/done"); i++ {
		c := "A"
		if done[i] == 'A' {
			c = "B"
		}
		bad["another character"] = get(h, done[:i]+c+done[i+1:], "token")
		for what, w := range bad {
			if !refused(w, 400, "M_INVALID_PARAM", "ask again") {
				t.Fatalf("%s at %d: %d %s", what, i, w.Code, w.Body)
			}
		}
	}
	if b.looks != looks {
		t.Error("somebody looked for a ticket that is not good")
	}
	// What else is in the URL of the last request does not count.
	for _, target := range []string{done, done + "?since=theirs&timeout=1", strings.Replace(done, "/place/", "/elsewhere/", 1)} {
		if w := get(h, target, "token"); w.Code != 200 || !strings.Contains(w.Body.String(), `"Since":"mine"`) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestWhoCannotBeSentAwayWaitsHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		h := serve(t, sentAway{b}, io.Discard, b.poll())
		doneOf(t, get(h, "/poll?timeout=20000&since="+strings.Repeat("s", 650), "token"))
		for what, target := range map[string]string{
			"a query that does not fit": "/poll?timeout=20000&since=" + strings.Repeat("s", 750),
			"a token in the query":      "/poll?timeout=20000&access_token=token",
		} {
			start := time.Now()
			if w := get(h, target, ""); w.Code != 200 || time.Since(start) < 20*time.Second {
				t.Errorf("%s: %d %s after %s", what, w.Code, w.Body, time.Since(start))
			}
		}
	})
}

// A wait can be finished wherever the route is: one declaration, one function.
func TestAPollIsFinishedByItsOwnRoute(t *testing.T) {
	poll := newBoard().poll()
	poll.Also = Also{"/old/poll"}
	got := strings.Join(poll.Patterns(), "\n")
	if want := "GET /poll\nGET /old/poll\nGET /hold/poll/{ticket}/{place}/done"; got != want {
		t.Errorf("the patterns are\n%s\nnot\n%s", got, want)
	}
}

type postRequest struct {
	Timeout int64  `query:"timeout"`
	Pos     string `json:"pos" required:"true"`
}

func (w *postRequest) Waits(Caller) ([]string, time.Duration) {
	return []string{"key"}, time.Duration(w.Timeout) * time.Millisecond
}

// The body of a request is sent again by the client, as its token is.
func TestAPollWithABodyComesBackWithIt(t *testing.T) {
	away := &waketest.Away{Service: newBoard()}
	away.Between = func(string) { _ = away.Wake(t.Context()) }
	front := httptest.NewServer(away.Handler(serve(t, away, io.Discard, Route{Name: "post", Pattern: "POST /post", Handler: Poll(none,
		func(_ context.Context, _ *nothing, _ Caller, r *postRequest) (*postRequest, bool, error) {
			return r, false, nil
		})})))
	defer front.Close()
	r, err := http.NewRequestWithContext(t.Context(), "POST", front.URL+"/post?timeout=7000", strings.NewReader(`{"pos":"p"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer token") // who has none waits here
	resp, err := front.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != `{"Timeout":7000,"pos":"p"}` || !strings.HasSuffix(resp.Request.URL.Path, "/done") {
		t.Errorf("%s %d %s, %v", resp.Request.URL, resp.StatusCode, body, err)
	}
}
