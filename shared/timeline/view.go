package timeline

import (
	"cmp"
	"context"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/timeline/trie"
	"github.com/virga-im/virga/shared/userlog"
)

// Viewer is who looks: a user, with a device.
type Viewer struct{ User, Device string }

// end is after every position.
const end = ^Pos(0)

// view is what a user may see of a room.
type view struct {
	s *Service
	Viewer
	room   string
	cursor userlog.Cursor
	// until is the last position that may be seen: that of the departure for
	// somebody who was in the room and is not any more.
	until Pos
	// stranger sees only what is world_readable.
	stranger bool
	// appliesTimeline says that the client takes the state from the timeline, as
	// those do that do not ask for state_after.
	appliesTimeline bool
	ignores         *ignores
}

// view opens a room for a user. It is M_FORBIDDEN for those who neither are nor
// were in it, unless everybody may read it; an unknown room is just the same.
func (s *Service) view(ctx context.Context, v Viewer, room string) (*view, error) {
	w, err := s.open(ctx, v, room)
	if err != nil || !w.stranger {
		return w, err
	}
	head, err := s.Head(ctx, room)
	if err != nil && !mxerr.Is(err, "M_NOT_FOUND") {
		return nil, err
	}
	if err != nil || head.Visibility != worldReadable {
		return nil, notIn(room)
	}
	return w, nil
}

// open is view for whatever room and user. A stranger sees in it what was said while
// everybody might read it.
func (s *Service) open(ctx context.Context, v Viewer, room string) (*view, error) {
	c, err := s.Log.Cursor(ctx, v.User, room)
	if err != nil {
		return nil, err
	}
	w := &view{s: s, Viewer: v, room: room, cursor: c, until: end, ignores: &ignores{s: s, user: v.User}}
	if w.enter() {
		return w, nil
	}
	w.stranger = true
	return w, nil
}

func notIn(room string) error {
	return mxerr.Forbidden("You are not in the room %s, and never were.", room)
}

// enter reports whether the user is or was in the room, and has not forgotten it.
func (w *view) enter() bool {
	if w.cursor.Membership == "join" {
		return true
	}
	p, ok := departure(w.cursor, end)
	if !ok || w.cursor.Forgotten {
		return false
	}
	w.until = p
	return true
}

// departure returns the position at which a user who had joined did not stay
// any longer, looking back from a position.
func departure(c userlog.Cursor, from Pos) (Pos, bool) {
	var left Pos
	for i := len(c.Transitions) - 1; i >= 0; i-- {
		t := c.Transitions[i]
		if t.Pos > from {
			continue
		}
		if t.Membership == "join" {
			return left, left != 0
		}
		left = t.Pos
	}
	return 0, false
}

// The values of EventRow.Visibility.
const (
	worldReadable = "w"
	joinedOnly    = "j"
	invitedOnly   = "i"
)

// sees reports whether the user may see an event.
//
// https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-5
func (w *view) sees(ctx context.Context, r *EventRow) (bool, error) {
	if r.Kind == KindState || r.Pos > w.until {
		return false, nil
	}
	if r.Visibility == worldReadable {
		return true, nil
	}
	if w.stranger {
		return false, nil
	}
	now, err := w.membershipAt(ctx, r)
	if err != nil {
		return false, err
	}
	if w.allows(r, now) {
		return true, nil
	}
	// The user's own membership events are also judged by the membership before.
	for i, t := range w.cursor.Transitions {
		if t.EventID == r.ID && i > 0 {
			return w.allows(r, w.cursor.Transitions[i-1].Membership), nil
		}
	}
	if len(w.cursor.Transitions) < userlog.MaxTransitions || r.Prev == "" {
		return false, nil
	}
	if e, err := r.Event(); err != nil || !e.Is(typeMember, w.User) {
		return false, err
	}
	before, err := w.s.ViewsByID(ctx, []string{r.Prev})
	if err != nil || before[r.Prev] == nil {
		return false, err
	}
	return w.allows(r, before[r.Prev].Content.Membership), nil
}

func (w *view) allows(r *EventRow, membership string) bool {
	if membership == "join" {
		return true
	}
	switch r.Visibility {
	case joinedOnly:
		return false
	case invitedOnly:
		return membership == "invite"
	}
	// Shared, which is also what no visibility means: whoever joins later may see
	// it.
	if w.cursor.Membership == "join" {
		return true
	}
	for _, t := range w.cursor.Transitions {
		if t.Membership == "join" && t.Pos > r.Pos {
			return true
		}
	}
	return false
}

// membershipAt returns the user's membership just after an event; "leave" if
// there was none yet.
func (w *view) membershipAt(ctx context.Context, r *EventRow) (string, error) {
	if m := w.cursor.MembershipAt(r.Pos); m != "" {
		return m, nil
	}
	if len(w.cursor.Transitions) < userlog.MaxTransitions {
		return "leave", nil
	}
	// The cursor has forgotten what was that long ago; the state has not.
	return w.membershipIn(ctx, r.CurrentRoot())
}

// membershipAtPos is membershipAt for any position.
func (w *view) membershipAtPos(ctx context.Context, p Pos) (string, error) {
	if m := w.cursor.MembershipAt(p); m != "" || len(w.cursor.Transitions) < userlog.MaxTransitions {
		return cmp.Or(m, "leave"), nil
	}
	root, err := w.s.RootAt(ctx, w.room, p)
	if err != nil {
		return "", err
	}
	return w.membershipIn(ctx, root)
}

// membershipIn returns the user's membership in a state.
func (w *view) membershipIn(ctx context.Context, r trie.Root) (string, error) {
	key := auth.Key{Type: typeMember, StateKey: w.User}
	state, err := w.s.Views(ctx, w.room, r, []auth.Key{key})
	if err != nil {
		return "", err
	}
	if v := state[key]; v != nil {
		return v.Content.Membership, nil
	}
	return "leave", nil
}

// state returns the root of the state that the user may see: the current one, or
// that of the departure.
func (w *view) state(ctx context.Context) (trie.Root, error) {
	if w.until != end {
		return w.s.RootAt(ctx, w.room, w.until)
	}
	head, err := w.s.Head(ctx, w.room)
	if err != nil {
		return trie.Root{}, err
	}
	return head.CurrentRoot(), nil
}

// RootAt returns the current state of a room just after a position.
func (s *Service) RootAt(ctx context.Context, room string, p Pos) (trie.Root, error) {
	for p > 0 {
		rows, err := s.Range(ctx, room, 0, p, true, 1)
		if err != nil || len(rows) == 0 {
			return trie.Root{}, err
		}
		if live(rows[0].Pos) {
			return rows[0].CurrentRoot(), nil
		}
		// Backfilled events know a state of long ago; what was current when they
		// were fetched is the last position of the segment before.
		p = segment(rows[0].Pos) - 1
	}
	return trie.Root{}, nil
}

// segment is the lowest position of the segment that p is in.
func segment(p Pos) Pos { return p &^ (1<<32 - 1) }

// NextSegment is the first position of the segment after the one that p is in.
func NextSegment(p Pos) Pos { return segment(p) + 1<<32 + userlog.FirstPos }

// live reports whether a position was appended, and not backfilled.
func live(p Pos) bool { return p&(1<<31) != 0 }

// position reads a from, to or at token as a boundary in the room.
func (w *view) position(ctx context.Context, param, tok string) (Pos, error) {
	t, err := token.Parse(tok, w.User, w.Device)
	if err != nil {
		return 0, badToken(param, err)
	}
	if !t.IsSync {
		return t.Pos, nil
	}
	return w.positionAt(ctx, t.Sync.N)
}

// positionAt is the position up to which the user's log tells of the room with
// its first n entries.
func (w *view) positionAt(ctx context.Context, n int64) (Pos, error) {
	switch {
	case w.stranger:
		return end, nil
	case w.cursor.N <= n:
		return w.s.told(ctx, w.User, w.cursor)
	}
	// Entries are contiguous, so the next one begins where the token stands.
	page, err := w.s.Log.After(ctx, w.User, n, 0)
	if err != nil {
		return 0, err
	}
	for _, e := range page.Entries {
		if e.Kind == userlog.KindRoom && e.Room == w.room {
			return e.From, nil
		}
	}
	return w.cursor.From, nil
}

func badToken(param string, err error) error {
	if err == token.ErrForeign {
		return mxerr.InvalidParam("The token in %q was given to another device; start without it.", param)
	}
	return mxerr.InvalidParam("%q holds no token of this server; start without it.", param)
}

const (
	typeMember    = "m.room.member"
	typeLevels    = "m.room.power_levels"
	typeRedaction = "m.room.redaction"
)

func memberKeys(users ...string) []auth.Key {
	keys := make([]auth.Key, len(users))
	for i, u := range users {
		keys[i] = auth.Key{Type: typeMember, StateKey: u}
	}
	return keys
}
