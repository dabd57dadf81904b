package clients

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/virga-im/virga/tests/server"
)

// TestNothingIsLostOrDoubledByAKill has alice send messages and repeat each until
// it is acknowledged, as apps do, while the server is killed in the midst of it
// and comes back with the same folder. Bob is away meanwhile, and returns.
func TestNothingIsLostOrDoubledByAKill(t *testing.T) {
	for _, pair := range [][2]sdk{{jsSDK, mautrix}, {mautrix, jsSDK}} {
		t.Run(pair[0].name+" with "+pair[1].name, func(t *testing.T) {
			// The URL must stay the same, because apps keep it.
			s := server.Start(t, "-client-listen", freeAddress(t))
			alice := start(t, pair[0], s).register(t, "alice")
			bob := start(t, pair[1], s).register(t, "bob")
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
			sent, failed := make(chan shown, messages), make(chan error, 1)
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
			for m := range sent {
				want = append(want, m)
				if len(want)%8 == 0 { // three times
					s.Kill()
					s.Restart()
				}
			}
			select {
			case err := <-failed:
				t.Fatal(err)
			default:
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

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
