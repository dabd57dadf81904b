package checks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// parallel is how many requests of each of the two are under way at once.
const parallel = 10

const cached = "something keeps answers: the cache policy of every behaviour is to be the stack's own, and ErrorCachingMinTTL 0 for every status"

// kept returns an error if an answer came from a cache, or may be put into one.
func (a answer) kept() error {
	switch {
	case a.header.Get("Age") != "" && a.header.Get("Age") != "0":
		return fmt.Errorf("%s: the answer is %s seconds old", a.asked, a.header.Get("Age"))
	case strings.HasPrefix(strings.ToLower(a.header.Get("X-Cache")), "hit"), strings.HasPrefix(a.header.Get("X-Cache"), "RefreshHit"):
		return fmt.Errorf("%s: %s", a.asked, a.header.Get("X-Cache"))
	case !strings.Contains(a.header.Get("Cache-Control"), "no-store"):
		return fmt.Errorf("%s: Cache-Control is %q", a.asked, a.header.Get("Cache-Control"))
	}
	return nil
}

// separate asks the same URLs as two people at once, again and again.
func (s *suite) separate(ctx context.Context, both ...*person) {
	var mu sync.Mutex
	var wrong []error
	var requests sync.WaitGroup
	for i := range 2 * parallel {
		target := fmt.Sprintf("%s/account/whoami?n=%d", v3, i%4)
		for _, p := range both {
			requests.Go(func() {
				a, err := s.send(ctx, request{method: "GET", target: target, token: p.token})
				if err == nil {
					err = a.kept()
				}
				if err == nil {
					var o object
					if o, err = a.json(http.StatusOK); err == nil && o["user_id"] != p.user {
						err = fmt.Errorf("%s got the answer of %v", p.user, o["user_id"])
					}
				}
				if err != nil {
					mu.Lock()
					defer mu.Unlock()
					wrong = append(wrong, err)
				}
			})
		}
	}
	requests.Wait()
	a, err := s.send(ctx, request{method: "GET", target: v3 + "/account/whoami?n=0"})
	if err == nil {
		err = a.refused(http.StatusUnauthorized, "M_MISSING_TOKEN")
	}
	if err != nil {
		wrong = append(wrong, err)
	}
	if len(wrong) > 3 {
		wrong = wrong[:3]
	}
	s.judge("two at once", fmt.Sprintf("each of %d requests for 4 URLs has its own answer", 4*parallel), cached, errors.Join(wrong...))
}

// errorsAreNotKept asks for what there is not, makes it, and asks again.
func (s *suite) errorsAreNotKept(ctx context.Context, p *person, room string) {
	err := func() error {
		target := v3 + "/directory/room/" + escaped("#late-"+s.run+p.user[strings.Index(p.user, ":"):])
		for range 2 {
			a, err := s.send(ctx, request{method: "GET", target: target})
			if err == nil {
				err = a.refused(http.StatusNotFound, "M_NOT_FOUND")
			}
			if err == nil {
				err = a.kept()
			}
			if err != nil {
				return err
			}
		}
		if _, err := s.call(ctx, request{method: "PUT", target: target, token: p.token, body: object{"room_id": room}}); err != nil {
			return err
		}
		_, err := s.call(ctx, request{method: "GET", target: target})
		return err
	}()
	s.judge("errors are not kept", "404, and 200 as soon as it is there", cached, err)
}

// What an answer has that is larger than a function returns at once: 6 MB.
const (
	largePieces = 110
	largePiece  = 60_000
	largeType   = "org.virga.large"
)

// large asks for an answer above 6 MB, the state of a room, as it is and compressed; and
// for the same in pages, which are as large as the server likes.
func (s *suite) large(ctx context.Context, p *person) {
	const check = "a large answer"
	room := ""
	err := func() error {
		o, err := s.call(ctx, request{method: "POST", target: v3 + "/createRoom", token: p.token, body: object{"preset": "private_chat"}})
		if err != nil {
			return err
		}
		room = v3 + "/rooms/" + escaped(str(o, "room_id"))
		// One after another: changes at once are in each other's way, and what fails on
		// that is paid for.
		for i := range largePieces {
			_, err := s.call(ctx, request{
				method: "PUT", target: fmt.Sprintf("%s/state/%s/%d", room, largeType, i), token: p.token,
				body: object{"text": strings.Repeat(fmt.Sprintf("%03d ", i), largePiece/4)},
			})
			if err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		s.judge(check, "", "read the logs of the function setRoomStateWithKey", err)
		return
	}
	ask := request{method: "GET", target: room + "/state", token: p.token}
	whole := func(a answer) error {
		var list []struct{ Type string }
		if a.status != http.StatusOK {
			_, err := a.json(http.StatusOK)
			return err
		}
		if err := json.Unmarshal(a.body, &list); err != nil {
			return fmt.Errorf("the answer is broken off after %d bytes: %w", len(a.body), err)
		}
		n := 0
		for _, e := range list {
			if e.Type == largeType {
				n++
			}
		}
		if n != largePieces {
			return fmt.Errorf("/state has %d of %d pieces", n, largePieces)
		}
		return nil
	}
	a, err := s.send(ctx, ask)
	if err == nil {
		err = whole(a)
	}
	ok := s.judge(check, fmt.Sprintf("%.1f MB in %s", float64(a.size)/1e6, brief(a.took)),
		"above 6 MB, a function only answers in a stream: it needs its URL, and a behaviour of the distribution. See infra/aws/README.md", err)
	if !ok {
		s.tell(skipped, "compression", "there is no large answer to compress", "")
	} else {
		z, err := s.send(ctx, ask.with(map[string]string{"Accept-Encoding": "gzip"}))
		if err == nil {
			err = whole(z)
		}
		found := "there is none"
		if z.header.Get("Content-Encoding") != "" {
			found = fmt.Sprintf("%.1f MB come as %.2f MB", float64(len(z.body))/1e6, float64(z.size)/1e6)
		}
		s.judge("compression", found, "clients that ask for gzip do not get what they asked for", err)
	}
	s.pages(ctx, p, room)
}

// pages reads a room to its beginning.
func (s *suite) pages(ctx context.Context, p *person, room string) {
	pages, events := 0, 0
	err := func() error {
		for from := ""; pages < 2*largePieces; {
			o, err := s.call(ctx, request{method: "GET", target: room + "/messages?dir=b&limit=1000" + from, token: p.token})
			if err != nil {
				return err
			}
			pages++
			list, _ := o["chunk"].([]any)
			for _, e := range list {
				if event, _ := e.(object); event["type"] == largeType {
					events++
				}
			}
			end := str(o, "end")
			if end == "" {
				break
			}
			from = "&from=" + url.QueryEscape(end)
		}
		if events != largePieces {
			return fmt.Errorf("%d pages of /messages have %d of %d events", pages, events, largePieces)
		}
		return nil
	}()
	s.judge("a long room", fmt.Sprintf("%d events on %d pages", events, pages), "read the logs of the function getRoomEvents", err)
}
