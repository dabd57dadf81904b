package lambda

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// byURL asks for an answer by the URL of the function.
func (w *onLambda) byURL(t *testing.T, s step, known map[string]string) *Stream {
	t.Helper()
	r := s.request(known)
	answer, err := w.route(t, r).Stream(event(r, known["body"], urlHost))
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return answer
}

// large is more than three times what a function returns at once.
const large = 20 << 20

// aLargeRoom makes a room with a state of 20 MB, and returns what a step knows.
func (w *onLambda) aLargeRoom(t *testing.T) map[string]string {
	t.Helper()
	known := map[string]string{}
	do := func(s step) map[string]any {
		t.Helper()
		status, _, text := w.answer(t, s.request(known), known["body"])
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil || status != s.status {
			t.Fatalf("%s: %d %.200s", s.name, status, text)
		}
		withoutChance(v, known)
		return v
	}
	do(step{"register asks for a dialogue", "POST", "/_matrix/client/v3/register", "", `{"username":"alice","password":"wonderland"}`, 401})
	do(step{"register", "POST", "/_matrix/client/v3/register", "", `{"username":"alice","password":"wonderland","auth":{"type":"m.login.dummy","session":"$session"}}`, 200})
	room := do(step{"create a room", "POST", "/_matrix/client/v3/createRoom", "$access_token", `{}`, 200})
	known["room_id"] = room["room_id"].(string)
	const each = 60 << 10
	for i := range large/each + 1 {
		do(step{"set state", "PUT", fmt.Sprintf("/_matrix/client/v3/rooms/$room_id/state/org.example.large/%d", i), "$access_token",
			`{"text":"` + strings.Repeat("x", each) + `"}`, 200})
	}
	return known
}

func TestAnswersByURLAreWholeOrBroken(t *testing.T) {
	w := newOnLambda(t, map[string]string{
		"VIRGA_SERVER_NAME": "example.org", "VIRGA_REGISTRATION": "open", "VIRGA_PASSWORD_COST": "min", "VIRGA_RATE_LIMITS": "off",
	})
	known := w.aLargeRoom(t)
	state := step{"state", "GET", "/_matrix/client/v3/rooms/$room_id/state", "$access_token", "", 200}

	answer := w.byURL(t, state, known)
	text, err := io.ReadAll(answer.Body)
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
	var events []json.RawMessage
	if bad := json.Unmarshal(text, &events); err != nil || bad != nil || len(text) < large || answer.Status != http.StatusOK ||
		answer.Header.Get("Content-Type") != "application/json" || answer.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a state of %d bytes: %d %v, %v, %v", len(text), answer.Status, answer.Header, err, bad)
	}
	t.Logf("%d events in %d bytes", len(events), len(text))

	// The same function, by the gateway.
	if status, _, text := w.answer(t, state.request(known), ""); status != http.StatusInternalServerError || !strings.Contains(text, "M_TOO_LARGE") {
		t.Errorf("by the gateway: %d %.200s", status, text)
	}

	// An error is streamed, too.
	answer = w.byURL(t, step{"no token", "GET", "/_matrix/client/v3/rooms/$room_id/state", "", "", 401}, known)
	if text, err := io.ReadAll(answer.Body); err != nil || answer.Status != http.StatusUnauthorized || !strings.Contains(string(text), "M_MISSING_TOKEN") {
		t.Errorf("without a token: %d %s, %v", answer.Status, text, err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}

	// A client that takes longer than the function has.
	f := w.function(t, "getRoomState")
	f.Timeout = 3 * time.Second
	answer = w.byURL(t, state, known)
	if _, err := io.CopyN(io.Discard, answer.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	time.Sleep(f.Timeout) // the time of a function cannot be faked
	if n, err := io.Copy(io.Discard, answer.Body); err == nil || n > large-1<<20 {
		t.Errorf("after the time was up came %d bytes, and then %v", n, err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
	f.Timeout = timeout

	// The function is there for the next, and then it is killed.
	answer = w.byURL(t, state, known)
	if _, err := io.CopyN(io.Discard, answer.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, answer.Body); err == nil {
		t.Errorf("of a function that was killed came %d bytes, and no error", n)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
}
