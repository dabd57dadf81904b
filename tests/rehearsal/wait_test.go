package rehearsal

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Who waits in /sync is sent to a queue, where the gateway receives for them and no
// function runs, and is woken by what others write.
func TestWhoWaitsIsWokenAtAQueue(t *testing.T) {
	t.Parallel()
	s := Deploy(t, Options{Context: map[string]string{"registration": "open", "rateLimits": "off", "presence": "off"}})
	alice, bob, room, _ := talk(t, s)
	settle(t, s)
	since := bob.sync(t, "")
	for i := range 20 { // the first waits are held in functions, until the queues are there
		texts, received := make(chan string, 1), s.received()
		go func() {
			text := bob.repeat(t, "GET", "/_matrix/client/v3/sync?timeout=30000&since="+url.QueryEscape(since), "")
			texts <- string(text)
		}()
		for range 300 {
			if s.received() > received {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		atQueue := s.received() > received
		body, sent := fmt.Sprint("wake up ", i), time.Now()
		alice.do(t, 200, "PUT", fmt.Sprintf("/_matrix/client/v3/rooms/%s/send/m.room.message/w%d", url.PathEscape(room), i), `{"msgtype":"m.text","body":"`+body+`"}`)
		text := <-texts
		took := time.Since(sent)
		since = batchOf(t, text)
		switch {
		case !strings.Contains(text, body):
			// A mark of who has read, or the like, ended the wait.
			settle(t, s)
			since = bob.sync(t, since)
		case !atQueue:
		case took > 10*time.Second:
			t.Fatalf("bob hears of it after %s", took)
		default:
			t.Logf("after %d waits in functions, one at a queue: woken %s after the message was sent; the gateway has answered %v", i, took, s.Requests())
			return
		}
	}
	t.Fatal("nobody is sent to a queue")
}

// received is how often a gateway has begun to receive for those who wait.
func (s *Stack) received() (n int) {
	for c, k := range s.Services.Calls() {
		if c.Operation == "ReceiveMessage" && strings.HasPrefix(c.Session, "apigateway") {
			n += k
		}
	}
	return n
}

// sync returns where a person's /sync ends.
func (p *person) sync(t *testing.T, since string) string {
	t.Helper()
	path := "/_matrix/client/v3/sync"
	if since != "" {
		path += "?since=" + url.QueryEscape(since)
	}
	return batchOf(t, string(p.repeat(t, "GET", path, "")))
}

func batchOf(t *testing.T, text string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, `"next_batch":"`)
	batch, _, end := strings.Cut(rest, `"`)
	if !ok || !end {
		t.Fatalf("no next_batch in %s", text)
	}
	return batch
}
