package timeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/ksuid"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// WalksSpaces is what Hierarchy uses.
var WalksSpaces = grant.Of(Shows, grant.WriteTable("users"))

// HierarchyRequest is a request of /hierarchy.
type HierarchyRequest struct {
	Room      string
	Suggested bool
	// MaxDepth and Limit are nil where the client leaves them to the server.
	MaxDepth, Limit *int
	From            string
}

// Hierarchy is an answer of /hierarchy.
type Hierarchy struct {
	Rooms []*SpaceRoom `json:"rooms"`
	Next  string       `json:"next_batch,omitempty"`
}

// SpaceRoom is a room of a space.
type SpaceRoom struct {
	Outside
	Children []Child `json:"children_state"`
}

const (
	maxSpaceRooms = 50 // in a page
	// maxSpaceLooks bounds how many rooms a page looks at that it may not show.
	maxSpaceLooks = 100
	maxSpaceDepth = 20
	// maxSpaceWalk bounds all pages of a walk together, and with it the row that
	// keeps where the walk is to some 200 KB.
	maxSpaceWalk = 2000
	// walkRetention is how long a walk can be gone on with.
	walkRetention = time.Hour
)

// spaceWalk is where a walk through a space is: the row WALK#id of the user's
// partition in the users table. It is written once, where a page ends, so a token
// leads to the same place as often as it is used. If it is lost the client is told
// that the token is unknown, and begins anew.
type spaceWalk struct {
	Room      string      `db:"r"`
	Suggested bool        `db:"sg,omitempty"`
	MaxDepth  int         `db:"md"`
	Stack     []spaceStep `db:"st"` // the next room is the last
	Seen      []string    `db:"sn"` // rooms that were or will be looked at
}

type spaceStep struct {
	Room  string `json:"r"`
	Depth int    `json:"d"`
}

func walkKey(user, id string) store.Key {
	return store.Key{Part: userlog.Part(user), Sort: "WALK#" + id}
}

// Hierarchy walks through a space and those in it, each room once, a room before
// its children. Rooms that the user may not know of are left out with what is only
// reached through them, and so are rooms that are not here.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
func (s *Service) Hierarchy(ctx context.Context, user string, req HierarchyRequest) (*Hierarchy, error) {
	limit, depth := maxSpaceRooms, maxSpaceDepth
	if req.Limit != nil {
		if *req.Limit <= 0 {
			return nil, mxerr.InvalidParam("limit must be greater than zero.")
		}
		limit = min(limit, *req.Limit)
	}
	if req.MaxDepth != nil {
		if *req.MaxDepth < 0 {
			return nil, mxerr.InvalidParam("max_depth must not be negative.")
		}
		depth = min(depth, *req.MaxDepth)
	}
	w := &spaceWalk{Room: req.Room, Suggested: req.Suggested, MaxDepth: depth, Stack: []spaceStep{{Room: req.Room}}, Seen: []string{req.Room}}
	if req.From != "" {
		var err error
		if w, err = s.resumeWalk(ctx, user, req.From); err != nil {
			return nil, err
		}
		if w.Room != req.Room || w.Suggested != req.Suggested || w.MaxDepth != depth {
			return nil, mxerr.InvalidParam("The room, suggested_only and max_depth must stay the same from page to page.")
		}
	}
	h := &Hierarchy{Rooms: []*SpaceRoom{}}
	size := 0
	for looked := 0; len(w.Stack) > 0 && len(h.Rooms) < limit && looked < maxSpaceLooks && size < pageBytes; looked++ {
		step := w.Stack[len(w.Stack)-1]
		w.Stack = w.Stack[:len(w.Stack)-1]
		r, err := s.spaceRoom(ctx, user, step.Room, w.Suggested)
		if err != nil {
			return nil, err
		}
		if r == nil {
			if step.Depth == 0 {
				return nil, mxerr.Forbidden("You may not see the room %s.", step.Room)
			}
			continue
		}
		h.Rooms = append(h.Rooms, r)
		for _, c := range r.Children {
			size += len(c.StateKey) + len(c.Sender) + len(c.Content)
		}
		w.descend(step, r)
	}
	if len(w.Stack) == 0 {
		return h, nil
	}
	id, err := ksuid.NewRandomWithTime(s.Clock.Now())
	if err != nil {
		return nil, fmt.Errorf("make token: %w", err)
	}
	put := store.Put(store.Users, walkKey(user, id.String()), store.Encode(w)).Until(s.Clock.Now().Add(walkRetention))
	if _, err := s.DB.Write(ctx, put); err != nil {
		return nil, fmt.Errorf("keep walk of %s: %w", user, err)
	}
	h.Next = id.String()
	return h, nil
}

// descend puts the children of a room on the stack, the first on top.
func (w *spaceWalk) descend(step spaceStep, r *SpaceRoom) {
	if step.Depth >= w.MaxDepth {
		return
	}
	var steps []spaceStep
	for _, c := range r.Children {
		// A room that is reached twice, or that holds the space itself, is shown where
		// it is met first.
		if slices.Contains(w.Seen, c.StateKey) || len(w.Seen) >= maxSpaceWalk {
			continue
		}
		w.Seen = append(w.Seen, c.StateKey)
		steps = append(steps, spaceStep{c.StateKey, step.Depth + 1})
	}
	slices.Reverse(steps)
	w.Stack = append(w.Stack, steps...)
}

func (s *Service) resumeWalk(ctx context.Context, user, tok string) (*spaceWalk, error) {
	unknown := mxerr.InvalidParam("from holds no token of this server, or one that is too old; start without it.")
	if _, err := ksuid.Parse(tok); err != nil {
		return nil, unknown
	}
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Users, Key: walkKey(user, tok)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) || err == nil && !it.Expires.After(s.Clock.Now()) {
		return nil, unknown
	}
	if err != nil {
		return nil, fmt.Errorf("read walk of %s: %w", user, err)
	}
	w := new(spaceWalk)
	return w, store.Decode(it, w)
}

// spaceRoom returns a room as /hierarchy shows it, or nil if the user may not know
// of it.
func (s *Service) spaceRoom(ctx context.Context, user, room string, suggested bool) (*SpaceRoom, error) {
	head, err := s.Head(ctx, room)
	if mxerr.Is(err, "M_NOT_FOUND") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := s.Log.Cursor(ctx, user, room)
	if err != nil {
		return nil, err
	}
	o, err := s.Outside(ctx, room, head)
	if err != nil {
		return nil, err
	}
	ok, err := s.mayEnter(ctx, user, o, c)
	if err != nil || !ok || c.Membership == "ban" && !o.WorldReadable {
		return nil, err
	}
	r := &SpaceRoom{Outside: *o, Children: []Child{}}
	if o.RoomType == "m.space" {
		r.Children, err = s.SpaceChildren(ctx, room, head, suggested)
	}
	return r, err
}

// Child is an m.space.child event in stripped form, with its time.
type Child struct {
	Type     string          `json:"type"`
	StateKey string          `json:"state_key"`
	Sender   string          `json:"sender"`
	Content  json.RawMessage `json:"content"`
	Time     int64           `json:"origin_server_ts"`
	order    string          // empty if there is none that is valid
}

// compare is the order of the children of a space.
//
// https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space
func (c Child) compare(d Child) int {
	switch {
	case c.order != "" && d.order == "":
		return -1
	case c.order == "" && d.order != "":
		return 1
	}
	return cmp.Or(cmp.Compare(c.order, d.order), cmp.Compare(c.Time, d.Time), cmp.Compare(c.StateKey, d.StateKey))
}
