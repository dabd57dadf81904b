package timeline_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/timeline"
)

// A page of large events is shorter than its limit, and goes on where it stopped.
func TestPagesOfLargeEventsAreShort(t *testing.T) {
	s := open(t)
	room := s.create()
	root := s.say(room, alice, "root")
	const size, n = 60 << 10, 40
	for i := range n {
		content, err := json.Marshal(map[string]any{
			"msgtype": "m.text", "body": fmt.Sprintf("%03d%s", i, strings.Repeat("x", size)),
			"m.relates_to": map[string]string{"rel_type": "org.example.rare", "event_id": root},
		})
		s.ok(err)
		_, err = s.rooms.Send(s.ctx, room, rooms.Draft{Type: "m.room.message", Sender: alice, Content: content})
		s.ok(err)
	}
	s.deliver(room)
	pages := func(what string, page func(from string) (chunk []json.RawMessage, next string)) {
		t.Helper()
		seen := map[string]bool{}
		count := 0
		for from := ""; ; count++ {
			chunk, next := page(from)
			bytes := 0
			for _, e := range chunk {
				bytes += len(e)
			}
			if bytes > 2<<20 {
				t.Errorf("%s: a page of %d KB", what, bytes>>10)
			}
			for _, body := range s.bodies(chunk) {
				if len(body) > size {
					seen[body[:3]] = true
				}
			}
			if from = next; from == "" {
				break
			}
		}
		if len(seen) != n || count == 0 {
			t.Errorf("%s: %d of %d large events in %d pages", what, len(seen), n, count+1)
		}
	}
	pages("messages", func(from string) ([]json.RawMessage, string) {
		resp, err := s.page(alice, timeline.MessagesRequest{Room: room, Backwards: true, From: from, Limit: 1000}, "")
		s.ok(err)
		return resp.Chunk, resp.End
	})
	pages("relations", func(from string) ([]json.RawMessage, string) {
		resp, err := s.timeline.Relations(s.ctx, viewer(alice), timeline.RelationsRequest{Room: room, EventID: root, Backwards: true, From: from, Limit: 100})
		s.ok(err)
		return resp.Chunk, resp.NextBatch
	})
}
