package rooms_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// BenchmarkFanOut is one message in a room of a thousand local members of whom
// sixty are active, in a process that knows them and in one that does not.
func BenchmarkFanOut(b *testing.B) {
	opt := local.NewMemory().Options()
	opt.NoSync = true
	s := open(b, opt)
	alice := s.register("alice")
	room := s.create(rooms.Creation{Creator: alice, Preset: "public_chat"})
	for i := range 1000 {
		user := s.register(fmt.Sprint("user", i))
		s.ok(s.rooms.Join(s.ctx, user, room, ""))
		if i%17 == 0 {
			s.look(user)
		}
	}
	dispatch := func() {
		s.ok(s.rooms.Dispatch(s.ctx, []store.Change{{Table: store.Rooms, Key: timeline.HeadKey(room)}}))
	}
	dispatch()
	ctx := s.ctx
	var m store.Meter
	for b.Loop() {
		b.StopTimer()
		s.ctx = ctx
		s.say(room, alice, "hello")
		m = store.Meter{}
		s.ctx = store.WithMeter(ctx, &m)
		b.StartTimer()
		dispatch()
	}
	b.ReportMetric(m.Total().Reads, "RU")
	b.ReportMetric(m.Total().Writes, "WU")
}

// BenchmarkSend is a message from the draft to the durable event in the sender's
// log: one after the other, and where many speak at once.
func BenchmarkSend(b *testing.B) {
	for _, speakers := range []int{1, 16} {
		b.Run(fmt.Sprintf("speakers=%d", speakers), func(b *testing.B) {
			s := open(b, local.Options{Dir: b.TempDir()})
			alice := s.register("alice")
			room := s.create(rooms.Creation{Creator: alice})
			b.SetParallelism(max(1, speakers/runtime.GOMAXPROCS(0)))
			say := func() {
				_, err := s.rooms.Send(s.ctx, room, rooms.Draft{Type: "m.room.message", Sender: alice, Content: text("hello")})
				if err != nil {
					b.Error(err)
				}
			}
			if speakers == 1 {
				for b.Loop() {
					say()
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					say()
				}
			})
		})
	}
}
