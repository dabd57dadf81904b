package gateway

import (
	"context"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// notification is what is sent of an event.
type notification struct {
	timeline.Notification
	entry int64 // of the log
	room  *room
}

// room is what is said of a room.
type room struct {
	id          string
	name, alias string
	senders     map[string]string // display names
}

// notifications are those of a page of the log that are still to be sent, oldest
// first: what the user has read meanwhile is not. If there are many, they are the
// latest.
func (r *run) notifications(ctx context.Context, page userlog.Page) ([]notification, error) {
	type noted struct {
		entry int64
		room  string
		note  userlog.Note
	}
	var notes []noted
	for _, e := range page.Entries {
		for _, n := range e.Notes {
			notes = append(notes, noted{e.N, e.Room, n})
		}
	}
	if more := len(notes) - maxSends; more > 0 {
		notes = notes[more:]
	}
	byRoom := map[string][]userlog.Note{}
	for _, n := range notes {
		byRoom[n.room] = append(byRoom[n.room], n.note)
	}
	found := map[string]map[timeline.Pos]notification{}
	for room, list := range byRoom {
		var err error
		if found[room], err = r.inRoom(ctx, room, page.Head.Settings, list); err != nil {
			return nil, err
		}
	}
	var list []notification
	for _, n := range notes {
		if x, ok := found[n.room][n.note.Pos]; ok {
			x.entry = n.entry
			list = append(list, x)
		}
	}
	return list, nil
}

func (r *run) inRoom(ctx context.Context, roomID string, version int64, notes []userlog.Note) (map[timeline.Pos]notification, error) {
	c, err := r.s.Log.Cursor(ctx, r.user, roomID)
	if err != nil || c.Membership != "join" && c.Membership != "invite" {
		return nil, err
	}
	list, err := r.s.Timeline.Notifications(ctx, r.user, version, c, notes)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(n timeline.Notification) bool {
		return n.Read || c.Membership == "invite" && !n.Event.Is("m.room.member", r.user)
	})
	if len(list) == 0 {
		return nil, nil
	}
	about, err := r.about(ctx, roomID, list)
	if err != nil {
		return nil, err
	}
	found := make(map[timeline.Pos]notification, len(list))
	for _, n := range list {
		found[n.Row.Pos] = notification{Notification: n, room: about}
	}
	return found, nil
}

// about reads what is said of a room and of those who speak in it.
func (r *run) about(ctx context.Context, roomID string, list []timeline.Notification) (*room, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	about := &room{id: roomID, senders: map[string]string{}}
	head, err := r.s.Timeline.Head(ctx, roomID)
	if mxerr.Is(err, "M_NOT_FOUND") {
		return about, nil
	}
	if err != nil {
		return nil, err
	}
	keys := []auth.Key{{Type: "m.room.name"}, {Type: "m.room.canonical_alias"}}
	for _, n := range list {
		if k := (auth.Key{Type: "m.room.member", StateKey: n.Event.Sender}); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	rows, err := r.s.Timeline.StateEvents(ctx, roomID, head.CurrentRoot(), keys...)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		e, err := row.Visible()
		if err != nil {
			return nil, err
		}
		text := func(key string) string {
			s, _ := canonicaljson.String(canonicaljson.Get(e.Content, key))
			return s
		}
		switch e.Type {
		case "m.room.name":
			about.name = text("name")
		case "m.room.canonical_alias":
			about.alias = text("alias")
		case "m.room.member":
			about.senders[*e.StateKey] = text("displayname")
		}
	}
	return about, nil
}

// recount forgets the count: what comes next counts anew.
func (r *run) recount() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unread = nil
}

// count is how many messages the user has not read in all rooms. It reads the
// cursors of all of them, some thirteen of which are a read unit.
func (r *run) count(ctx context.Context) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unread != nil {
		return *r.unread, nil
	}
	all, err := r.s.Log.Cursors(ctx, r.user)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, c := range all {
		if c.Membership == "join" {
			n += c.Unread.Total().Notify
		}
	}
	r.unread = &n
	return n, nil
}
