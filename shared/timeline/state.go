package timeline

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/timeline/trie"
	"github.com/virga-im/virga/shared/userlog"
)

// OneEvent returns an event of a room, or M_NOT_FOUND if there is none that the
// user may see.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid
func (s *Service) OneEvent(ctx context.Context, v Viewer, room, eventID string) (json.RawMessage, error) {
	w, err := s.open(ctx, v, room)
	if err != nil {
		return nil, err
	}
	row, err := w.visible(ctx, eventID)
	if err != nil {
		return nil, err
	}
	shown, err := w.show(ctx, []*EventRow{row}, format{prev: true, bundle: true})
	if err != nil {
		return nil, err
	}
	return shown[0], nil
}

// State returns all state events of a room: as they are now, or for somebody who
// left as they were then.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
func (s *Service) State(ctx context.Context, v Viewer, room string) ([]json.RawMessage, error) {
	w, root, err := s.viewState(ctx, v, room)
	if err != nil {
		return nil, err
	}
	rows, err := s.StateEvents(ctx, room, root)
	if err != nil {
		return nil, err
	}
	return w.show(ctx, rows, format{})
}

// StateEvent returns one state event, or only its content. It is M_NOT_FOUND if
// the state has no such event.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey
func (s *Service) StateEvent(ctx context.Context, v Viewer, room, typ, stateKey string, contentOnly bool) (json.RawMessage, error) {
	w, root, err := s.viewState(ctx, v, room)
	if err != nil {
		return nil, err
	}
	rows, err := s.StateEvents(ctx, room, root, auth.Key{Type: typ, StateKey: stateKey})
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, mxerr.NotFound("The room has no state of type %q with this key.", typ)
	}
	if contentOnly {
		e, err := rows[0].Visible()
		if err != nil {
			return nil, err
		}
		return e.Content, nil
	}
	shown, err := w.show(ctx, rows, format{prev: true})
	if err != nil {
		return nil, err
	}
	return shown[0], nil
}

func (s *Service) viewState(ctx context.Context, v Viewer, room string) (*view, trie.Root, error) {
	w, err := s.view(ctx, v, room)
	if err != nil {
		return nil, trie.Root{}, err
	}
	root, err := w.state(ctx)
	return w, root, err
}

// MembersRequest is a request of /members. An event is in the answer if it has
// Membership or has not NotMembership; an empty one is not asked about.
type MembersRequest struct {
	Room, At                  string
	Membership, NotMembership string
}

// MemberEvents returns the membership events of a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers
func (s *Service) MemberEvents(ctx context.Context, v Viewer, req MembersRequest) ([]json.RawMessage, error) {
	for _, m := range []string{req.Membership, req.NotMembership} {
		switch m {
		case "", "join", "invite", "knock", "leave", "ban":
		default:
			return nil, mxerr.InvalidParam("%q is not a membership.", m)
		}
	}
	w, err := s.view(ctx, v, req.Room)
	if err != nil {
		return nil, err
	}
	root, err := w.stateAt(ctx, req.At)
	if err != nil {
		return nil, err
	}
	var ids []string
	err = trie.Walk(ctx, s.Loader(req.Room), req.Room, root, trie.WalkMembers, func(e trie.Entry) bool {
		ids = append(ids, e.EventID)
		return true
	})
	if err != nil {
		return nil, err
	}
	rows, err := s.stateEventsByID(ctx, req.Room, ids)
	if err != nil {
		return nil, err
	}
	var wanted []*EventRow
	for _, r := range rows {
		e, err := r.Event()
		if err != nil {
			return nil, err
		}
		m, _ := canonicaljson.String(canonicaljson.Get(e.Content, "membership"))
		if req.Membership == "" && req.NotMembership == "" || req.Membership != "" && m == req.Membership ||
			req.NotMembership != "" && m != req.NotMembership {
			wanted = append(wanted, r)
		}
	}
	sortRows(wanted)
	return w.show(ctx, wanted, format{})
}

// stateAt is the state at a token, but not later than the user may see.
func (w *view) stateAt(ctx context.Context, at string) (trie.Root, error) {
	if at == "" {
		return w.state(ctx)
	}
	p, err := w.position(ctx, "at", at)
	if err != nil {
		return trie.Root{}, err
	}
	return w.s.RootAt(ctx, w.room, min(p, w.until))
}

// CountsMembers is what JoinedMembers uses.
var CountsMembers = grant.Of(userlog.Reads, grant.ReadTable("rooms"))

// JoinedMember is a member as /joined_members shows it.
type JoinedMember struct {
	DisplayName string `json:"display_name,omitempty"`
	AvatarURL   string `json:"avatar_url,omitempty"`
}

// JoinedMembers returns who is in a room, for those who are in it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members
func (s *Service) JoinedMembers(ctx context.Context, user, room string) (map[string]JoinedMember, error) {
	c, err := s.Log.Cursor(ctx, user, room)
	if err != nil {
		return nil, err
	}
	if c.Membership != "join" {
		return nil, mxerr.Forbidden("You are not in the room %s.", room)
	}
	head, err := s.Head(ctx, room)
	if err != nil {
		return nil, err
	}
	rows, err := s.Members(ctx, room, head, "", "join")
	if err != nil {
		return nil, err
	}
	joined := make(map[string]JoinedMember, len(rows))
	for _, r := range rows {
		joined[r.StateKey] = JoinedMember{DisplayName: r.DisplayName, AvatarURL: r.AvatarURL}
	}
	return joined, nil
}
