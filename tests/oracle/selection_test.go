package oracle

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"
	"maunium.net/go/mautrix/id"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/tests/oracle/room"
)

// TestSelection asks what state a random event is to cite.
func TestSelection(t *testing.T) {
	l := newLedger(t, selection)
	eachVersion(t, func(t *testing.T, v *roomversion.Version, d dice) {
		g := newVillage(v, d)
		for range 4000 {
			p := g.place()
			s := g.stateOf(p)
			e := g.eventIn(p, s)
			if refusedAnyway(e.View) {
				continue
			}
			var keys []string
			for _, k := range auth.Needed(v, e.View) {
				keys = append(keys, fmt.Sprintf("%s %q", k.Type, k.StateKey))
			}
			ours := accepted(joined(keys))
			l.add(&comparison{v: v, library: gmsl, event: e, ours: ours, theirs: safely(func() outcome { return gmslSelects(v, e) })})
			l.add(&comparison{v: v, library: mautrix, event: e, ours: ours, theirs: safely(func() outcome { return mautrixSelects(v, e) })})
		}
	})
	l.close()
}

// refusedAnyway: memberships that no choice of auth events could help, for which
// we name less than the letter of the selection does.
func refusedAnyway(e *auth.View) bool {
	signed := e.Content.ThirdPartySigned
	return e.Type == "m.room.member" && (!e.State || signed != nil && !signed.Complete)
}

func joined(keys []string) string {
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}

// gmslSelects leaves out the create event where the room version does, as the
// library's event builder does later.
func gmslSelects(v *roomversion.Version, e *room.Event) outcome {
	var keys []string
	for _, k := range gomatrixserverlib.StateNeededForAuth([]gomatrixserverlib.PDU{e.PDU}).Tuples() {
		if !v.HashRoomIDs || k.EventType != "m.room.create" {
			keys = append(keys, fmt.Sprintf("%s %q", k.EventType, k.StateKey))
		}
	}
	return accepted(joined(keys))
}

func mautrixSelects(v *roomversion.Version, e *room.Event) outcome {
	p, err := mautrixParses(v, e.JSON())
	if err != nil {
		return refused(err)
	}
	var keys []string
	for _, k := range p.AuthEventSelection(id.RoomVersion(v.ID)) {
		keys = append(keys, fmt.Sprintf("%s %q", k.Type, k.StateKey))
	}
	return accepted(joined(keys))
}
