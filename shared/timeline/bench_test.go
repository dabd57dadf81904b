package timeline_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// busy is a server on which alice is in many rooms, each with bob and with 50
// messages.
func busy(b *testing.B, rooms int) (s *server, last string) {
	opt := local.NewMemory().Options()
	opt.NoSync = true
	s = openWith(b, opt, clock.System{})
	for range rooms {
		last = s.create()
		s.ok(s.rooms.Join(s.ctx, bob, last, ""))
		for i := range 50 {
			s.say(last, []string{alice, bob}[i%2], fmt.Sprintf("Message %d is long: %s", i, strings.Repeat("a thousand characters ", 45)))
		}
	}
	return s, last
}

// BenchmarkInitialSync is an initial sync of 50 rooms with 50 messages each.
func BenchmarkInitialSync(b *testing.B) {
	s, _ := busy(b, 50)
	ctx := s.ctx
	var m store.Meter
	var body bytes.Buffer
	for b.Loop() {
		m = store.Meter{}
		s.ctx = store.WithMeter(ctx, &m)
		resp, _, err := s.timeline.Sync(s.ctx, viewer(alice), timeline.SyncRequest{Filter: limit(50)})
		s.ok(err)
		body.Reset()
		s.ok(resp.WriteJSON(s.ctx, &body))
	}
	b.ReportMetric(m.Total().Reads, "RU")
	b.ReportMetric(float64(body.Len()), "B/answer")
}

// BenchmarkEmptySync is a sync that has nothing to tell.
func BenchmarkEmptySync(b *testing.B) {
	s, _ := busy(b, 5)
	since := s.sync(alice, "", "").NextBatch
	for b.Loop() {
		s.sync(alice, since, "")
	}
}

// BenchmarkMessages is a page of 50 messages.
func BenchmarkMessages(b *testing.B) {
	s, room := busy(b, 1)
	for b.Loop() {
		_, err := s.timeline.Messages(s.ctx, viewer(alice), timeline.MessagesRequest{Room: room, Backwards: true, Limit: 50, Filter: new(timeline.RoomEventFilter)})
		s.ok(err)
	}
}
