package timeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/virga-im/virga/shared/directory"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// ShowsRooms is what RoomInitialSync uses.
var ShowsRooms = grant.Of(Shows, grant.ReadTable("server"))

// RoomInfo is a room as clients of before /sync know it.
type RoomInfo struct {
	RoomID string `json:"room_id"`
	// Membership is absent for somebody who never had any.
	Membership string `json:"membership,omitempty"`
	// Invite is the user's invite; there is nothing else of such a room then.
	Invite      json.RawMessage   `json:"invite,omitempty"`
	Messages    *PaginationChunk  `json:"messages,omitempty"`
	State       []json.RawMessage `json:"state,omitzero"`
	Visibility  string            `json:"visibility,omitempty"`
	AccountData []json.RawMessage `json:"account_data,omitzero"`
}

// PaginationChunk is the newest part of a room's history, oldest first. Start and
// End are the boundaries before and after it; without Start nothing is before.
type PaginationChunk struct {
	Start string            `json:"start,omitempty"`
	End   string            `json:"end"`
	Chunk []json.RawMessage `json:"chunk"`
}

// RoomInitialSync returns a room's newest messages, at most limit of them, with its
// state and the user's data about it. For somebody who left it is all as it was
// then.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync
func (s *Service) RoomInitialSync(ctx context.Context, v Viewer, room string, limit int) (*RoomInfo, error) {
	messages, err := s.Messages(ctx, v, MessagesRequest{Room: room, Backwards: true, Limit: limit, Filter: new(RoomEventFilter)})
	if err != nil {
		return nil, err
	}
	slices.Reverse(messages.Chunk)
	info := &RoomInfo{RoomID: room, Messages: &PaginationChunk{Start: messages.End, End: messages.Start, Chunk: messages.Chunk}}
	if info.State, err = s.State(ctx, v, room); err != nil {
		return nil, err
	}
	cursor, err := s.Log.Cursor(ctx, v.User, room)
	if err != nil {
		return nil, err
	}
	info.Membership = cursor.Membership
	if info.Visibility, err = s.published(ctx, room); err != nil {
		return nil, err
	}
	data, err := s.Accounts.AccountData(ctx, v.User, room)
	if err != nil {
		return nil, err
	}
	info.AccountData = append([]json.RawMessage{}, show(data, new(EventFilter))...)
	return info, nil
}

// published says whether the room is in the server's room directory.
func (s *Service) published(ctx context.Context, room string) (string, error) {
	w := directory.PublishWrite(room)
	switch _, err := s.DB.Get(ctx, store.Ref{Table: w.Table, Key: w.Key}, store.Consistent); {
	case errors.Is(err, store.ErrNotFound):
		return "private", nil
	case err != nil:
		return "", fmt.Errorf("read whether %s is published: %w", room, err)
	}
	return "public", nil
}

// EventAnywhere is OneEvent for an event of whatever room.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3eventseventid
func (s *Service) EventAnywhere(ctx context.Context, v Viewer, eventID string) (json.RawMessage, error) {
	index, err := s.Index(ctx, []string{eventID})
	if err != nil {
		return nil, err
	}
	row := index[eventID]
	if row == nil {
		return nil, mxerr.NotFound("There is no event %s that you may see.", eventID)
	}
	return s.OneEvent(ctx, v, row.Room, eventID)
}
