package timeline

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/userlog"
)

// Notification is an event that notifies a user, or did.
type Notification struct {
	Row     *EventRow
	Event   *pdu.Event
	Outcome push.Outcome
	// Read says that the user has read the event.
	Read bool
}

// Notifications finds out about notes of a user in the room of c: those whose event
// is not redacted, and not by somebody whom the user ignores by now. Where the
// rules have changed since and are silent now, the outcome is the plainest one.
func (s *Service) Notifications(ctx context.Context, user string, version int64, c userlog.Cursor, notes []userlog.Note) ([]Notification, error) {
	u := s.Unread(c.Room)
	at := make([]Pos, len(notes))
	for i, n := range notes {
		at[i] = n.Pos
	}
	rows, err := s.rowsAt(ctx, c.Room, at)
	if err != nil {
		return nil, err
	}
	rules, err := s.pushSettings(ctx, user, version)
	if err != nil {
		return nil, err
	}
	var list []Notification
	var events []*counted
	threads := []string{""}
	for _, n := range notes {
		row := rows[n.Pos]
		if row == nil {
			continue
		}
		r, err := prepare(row)
		if err != nil {
			return nil, err
		}
		if r.event == nil || r.Redacted != "" || rules.ignores(r.event.Sender) {
			continue
		}
		o, err := u.outcome(ctx, user, rules, r)
		if err != nil {
			return nil, err
		}
		if o == nil {
			o = &push.Outcome{Notify: true, Actions: []any{"notify"}}
		}
		thread, err := u.threadOf(ctx, r)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(threads, thread) {
			threads = append(threads, thread)
		}
		list, events = append(list, Notification{Row: row, Event: r.event, Outcome: *o}), append(events, r)
	}
	if len(list) == 0 {
		return nil, nil
	}
	read, err := u.receipts(ctx, user, threads)
	if err != nil {
		return nil, err
	}
	for i, r := range events {
		list[i].Read = r.Pos <= max(read[""], read[r.thread]) || c.Membership == "join" && r.Pos <= c.To && c.Unread.Of(r.thread).Last < r.Pos && c.Unread.Rest.Notify == 0
	}
	return list, nil
}

// ListsNotifications is what NotificationList uses.
var ListsNotifications = grant.Of(Shows, CountsUnread)

// NotificationsRequest asks for a page of notifications.
type NotificationsRequest struct {
	From string // what the page before returned, or empty
	// Limit is at least 1.
	Limit int
	// Highlights wants those alone that highlight.
	Highlights bool
}

// NotificationsResponse is a page of notifications, the newest first.
type NotificationsResponse struct {
	NextToken     string               `json:"next_token,omitempty"`
	Notifications []ListedNotification `json:"notifications"`
}

// ListedNotification is one of them.
type ListedNotification struct {
	Actions []any           `json:"actions"`
	Event   json.RawMessage `json:"event"`
	Read    bool            `json:"read"`
	RoomID  string          `json:"room_id"`
	TS      int64           `json:"ts"` // milliseconds
}

const (
	// maxNotifications bounds a page: with what it replaced, an event has 128 KB at
	// most. maxNoteScan is how many entries of the log are looked at for it: a page may
	// have fewer notifications than asked for, and yet be followed by another.
	maxNotifications = 40
	maxNoteScan      = 1000
	notePage         = 100
)

// NotificationList lists what notified the user, as long as the user's log has it:
// see userlog.Retention.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications
func (s *Service) NotificationList(ctx context.Context, v Viewer, req NotificationsRequest) (*NotificationsResponse, error) {
	h, err := s.Log.Head(ctx, v.User)
	if err != nil {
		return nil, err
	}
	before, skip := h.N+1, 0
	if req.From != "" {
		if before, skip, err = parseNoteToken(req.From); err != nil {
			return nil, err
		}
	}
	resp := &NotificationsResponse{Notifications: []ListedNotification{}}
	var wanted []note
	wanted, resp.NextToken, err = s.notesBefore(ctx, v.User, before, skip, req)
	if err != nil {
		return nil, err
	}
	byRoom := map[string][]userlog.Note{}
	for _, n := range wanted {
		byRoom[n.room] = append(byRoom[n.room], n.Note)
	}
	listed := map[string]map[Pos]ListedNotification{}
	for room, notes := range byRoom {
		if listed[room], err = s.listNotes(ctx, v, h.Settings, room, notes); err != nil {
			return nil, err
		}
	}
	for _, n := range wanted {
		if l, ok := listed[n.room][n.Pos]; ok {
			resp.Notifications = append(resp.Notifications, l)
		}
	}
	return resp, nil
}

// note is a note of a room.
type note struct {
	room string
	userlog.Note
}

// notesBefore collects notes of the user's log before an entry, without the last
// skip ones of the entry just before it, and the token of where it stopped.
func (s *Service) notesBefore(ctx context.Context, user string, before int64, skip int, req NotificationsRequest) (wanted []note, next string, err error) {
	for last, scanned := before-1, 0; before > 1 && scanned < maxNoteScan; scanned += notePage {
		entries, from, err := s.Log.NotesBefore(ctx, user, before, notePage)
		if err != nil {
			return nil, "", err
		}
		for _, e := range entries {
			slices.Reverse(e.Notes)
			for i, n := range e.Notes {
				if e.N == last && i < skip || req.Highlights && !n.Highlight {
					continue
				}
				if len(wanted) == min(req.Limit, maxNotifications) {
					return wanted, noteToken(e.N+1, i), nil
				}
				wanted = append(wanted, note{e.Room, n})
			}
		}
		before = from
	}
	if before > 1 {
		next = noteToken(before, 0)
	}
	return wanted, next, nil
}

// listNotes shows the notes of a room.
func (s *Service) listNotes(ctx context.Context, v Viewer, version int64, room string, notes []userlog.Note) (map[Pos]ListedNotification, error) {
	c, err := s.Log.Cursor(ctx, v.User, room)
	if err != nil || c.Forgotten {
		return nil, err
	}
	list, err := s.Notifications(ctx, v.User, version, c, notes)
	if err != nil {
		return nil, err
	}
	w := &view{s: s, Viewer: v, room: room, cursor: c, until: end, ignores: &ignores{s: s, user: v.User}}
	rows := make([]*EventRow, len(list))
	for i, n := range list {
		rows[i] = n.Row
	}
	shown, err := w.show(ctx, rows, format{noRoomID: true, bundle: true})
	if err != nil {
		return nil, err
	}
	listed := make(map[Pos]ListedNotification, len(list))
	for i, n := range list {
		listed[n.Row.Pos] = ListedNotification{
			Actions: n.Outcome.Actions, Event: shown[i], Read: n.Read, RoomID: room, TS: n.Event.OriginServerTS,
		}
	}
	return listed, nil
}

// noteToken names what is before an entry of the log, and of the one just before it
// how many notes are skipped.
func noteToken(before int64, skip int) string { return fmt.Sprintf("n1_%d_%d", before, skip) }

func parseNoteToken(tok string) (before int64, skip int, err error) {
	parts := strings.Split(tok, "_")
	if len(parts) == 3 && parts[0] == "n1" {
		before, err = strconv.ParseInt(parts[1], 10, 64)
		if err == nil {
			skip, err = strconv.Atoi(parts[2])
		}
		if err == nil && before > 0 && skip >= 0 {
			return before, skip, nil
		}
	}
	return 0, 0, mxerr.InvalidParam("from is not a token that this server gave.")
}
