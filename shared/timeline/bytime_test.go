package timeline_test

import (
	"fmt"
	"testing"

	"github.com/virga-im/virga/shared/store"
)

// TestEventByTimeIsTheClosest compares with a look at all events, in a room whose
// events are out of order as those of servers with other clocks are, and counts
// what it costs.
func TestEventByTimeIsTheClosest(t *testing.T) {
	s := open(t)
	room := s.create()
	const base, n = int64(4_000_000_000_000), 400
	times := make([]int64, n)
	for i := range times {
		times[i] = base + int64(i)*1000
		if i%7 == 3 {
			times[i] -= 20_500 // some twenty events late
		}
		d := message(alice, fmt.Sprint(i))
		d.OriginServerTS = times[i]
		_, err := s.rooms.Send(s.ctx, room, d)
		s.ok(err)
	}
	for ts := base - 30_000; ts < base+n*1000+30_000; ts += 3700 {
		for _, backwards := range []bool{false, true} {
			want := int64(0)
			for _, at := range times {
				if backwards && at <= ts && at > want || !backwards && at >= ts && (want == 0 || at < want) {
					want = at
				}
			}
			var cost store.Meter
			got, err := s.timeline.EventByTime(store.WithMeter(s.ctx, &cost), viewer(alice), room, ts, backwards)
			switch {
			case want == 0 && !backwards:
				s.refused(err, "M_NOT_FOUND")
			case want == 0: // what the room began with
				s.ok(err)
				if got.Time >= base-30_000 {
					t.Errorf("at or before %d there is %d", ts, got.Time)
				}
			default:
				s.ok(err)
				if got.Time != want {
					t.Errorf("close to %d, backwards %v: %d, want %d", ts-base, backwards, got.Time-base, want-base)
				}
			}
			if c := cost.Total(); c.Calls > 90 {
				t.Errorf("%d calls of the store", c.Calls)
			}
		}
	}
}
