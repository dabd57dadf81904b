package clients

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/tests/server"
)

// TestNothingIsLostOrDoubledByAKill has alice send messages and repeat each until
// it is acknowledged, as apps do, while the server is killed in the midst of it
// and comes back with the same folder. Bob is away meanwhile, and returns.
func TestNothingIsLostOrDoubledByAKill(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]sdk{{jsSDK, mautrix}, {mautrix, jsSDK}} {
		t.Run(pair[0].name+" with "+pair[1].name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			front := newFront(t, s)
			alice := start(t, pair[0], front.url).register(t, "alice")
			bob := start(t, pair[1], front.url).register(t, "bob")
			alice.syncs(t, all)
			bob.syncs(t, all)
			room := meet(t, alice, bob)
			want := []shown{alice.sends(t, room, "drop 0")}
			bob.seesMessage(t, room, want[0])
			want = append(want, bob.sends(t, room, "drop 1"))
			alice.seesMessage(t, room, want[1])
			bob.seesMessage(t, room, want[1])
			bob.must(t, "stop", nil)

			const messages = 30
			first := len(want)
			sent, failed := make(chan shown), make(chan error, 1)
			go func() {
				defer close(sent)
				for i := first; i < messages; i++ {
					m, err := alice.sendsUntilAcknowledged(room, fmt.Sprintf("drop %d", i))
					if err != nil {
						failed <- err
						return
					}
					sent <- m
				}
			}()
			kills := 0
			for done := false; !done; {
				select {
				case m, more := <-sent:
					if done = !more; more {
						want = append(want, m)
					}
				case again := <-front.kill:
					kills++
					s.Kill()
					s.Restart()
					front.to(s)
					close(again)
				case err := <-failed:
					t.Fatal(err)
				}
			}
			front.calm()
			if kills < 2 {
				t.Errorf("the server was killed %d times, which proves little", kills)
			}

			// Alice's app has synced all the time.
			last := want[len(want)-1]
			alice.seesMessage(t, room, last)
			alice.shows(t, room, want)
			// Bob's goes on from the token it had before the first kill, where there is
			// more than a timeline holds.
			bob.syncs(t, 10)
			bob.seesMessage(t, room, last)
			bob.must(t, "fill", args{"room": room})
			bob.shows(t, room, want)
			// A new device reads it all from the start.
			phone := bob.program.login(t, bob, "phone")
			phone.syncs(t, 10)
			phone.seesMessage(t, room, last)
			phone.must(t, "fill", args{"room": room})
			phone.shows(t, room, want)

			m := bob.sends(t, room, "after the rain")
			for _, u := range []*user{alice, bob, phone} {
				u.seesMessage(t, room, m)
				u.shows(t, room, append(want, m))
			}
		})
	}
}

func (u *user) sendsUntilAcknowledged(room, body string) (shown, error) {
	for deadline := time.Now().Add(patience); ; {
		b, err := u.try("send", args{"room": room, "body": body, "txn": "txn of " + body})
		if err == nil {
			r, err := decodeResult(b)
			return shown{ID: r.EventID, Type: "m.room.message", Body: body}, err
		}
		if time.Now().After(deadline) {
			return shown{}, fmt.Errorf("%q is not acknowledged: %w", body, err)
		}
		time.Sleep(20 * time.Millisecond) // between two tries, while nobody listens
	}
}

// A front is where apps reach a homeserver, whose URL changes when it starts
// again. It has it killed under some of the messages that are sent.
type front struct {
	url string
	// kill asks for a kill and a start, after which the channel it carries is
	// closed.
	kill chan chan struct{}

	test  *testing.T
	proxy httputil.ReverseProxy

	mu     sync.Mutex
	target *url.URL
	sends  int
	over   bool
}

func newFront(t *testing.T, s *server.Server) *front {
	t.Helper()
	f := &front{test: t, kill: make(chan chan struct{})}
	f.proxy = httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			f.mu.Lock()
			defer f.mu.Unlock()
			r.SetURL(f.target)
		},
		// An app finds its connection closed, as it would without a front.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	f.to(s)
	listener := httptest.NewServer(f)
	t.Cleanup(func() {
		listener.CloseClientConnections()
		listener.Close()
	})
	f.url = listener.URL
	return f
}

func (f *front) to(s *server.Server) {
	target, err := url.Parse(s.URL)
	if err != nil {
		f.test.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = target
}

// calm ends the kills.
func (f *front) calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := 0
	f.mu.Lock()
	if strings.Contains(r.URL.Path, "/send/") && !f.over {
		f.sends++
		n = f.sends
	}
	f.mu.Unlock()
	switch {
	case n%10 == 5: // The event is there, and nobody is told.
		f.proxy.ServeHTTP(httptest.NewRecorder(), r)
		f.crash()
		panic(http.ErrAbortHandler)
	case n%10 == 9: // The event is there or not, who knows.
		crashed := make(chan struct{})
		go func() {
			defer close(crashed)
			f.crash()
		}()
		defer func() { <-crashed }()
	}
	f.proxy.ServeHTTP(w, r)
}

func (f *front) crash() {
	again := make(chan struct{})
	select {
	case f.kill <- again:
		<-again
	case <-f.test.Context().Done():
	}
}
