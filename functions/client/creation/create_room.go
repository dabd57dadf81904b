package creation

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// createRoom makes a room with the state that the client asks for.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
var createRoom = route.Route{
	Name:    "createRoom",
	Pattern: "POST /_matrix/client/v3/createRoom",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Uses:    rooms.Creates,
	Handler: route.Handle(home.Rooms, serveCreateRoom),
}

type createRoomRequest struct {
	Visibility   string                     `json:"visibility"`
	AliasName    string                     `json:"room_alias_name"`
	Name         string                     `json:"name"`
	Topic        string                     `json:"topic"`
	Invite       []string                   `json:"invite"`
	Invite3PID   []json.RawMessage          `json:"invite_3pid"`
	RoomVersion  string                     `json:"room_version"`
	Content      map[string]json.RawMessage `json:"creation_content"`
	InitialState []rooms.StateEvent         `json:"initial_state"`
	Preset       string                     `json:"preset"`
	IsDirect     bool                       `json:"is_direct"`
	PowerLevels  map[string]json.RawMessage `json:"power_level_content_override"`
}

// Weighs counts the room and every invite: a room is no way to invite faster.
func (r *createRoomRequest) Weighs() (route.Limit, int) { return route.LimitJoin, 1 + len(r.Invite) }

// maxInitial is how many events of a room a client may ask for at once. A request
// of 1 MiB could ask for twenty thousand, which take longer than a function has.
const maxInitial = 1000

type createRoomResponse struct {
	RoomID string `json:"room_id"`
}

func serveCreateRoom(ctx context.Context, s *rooms.Service, c route.Caller, req *createRoomRequest) (*createRoomResponse, error) {
	switch req.Visibility {
	case "", "private", "public":
	default:
		return nil, mxerr.InvalidParam("visibility must be public or private.")
	}
	switch req.Preset {
	case "", "private_chat", "public_chat", "trusted_private_chat":
	default:
		return nil, mxerr.InvalidParam("preset must be private_chat, public_chat or trusted_private_chat.")
	}
	if len(req.InitialState)+len(req.Invite) > maxInitial {
		return nil, mxerr.TooLarge("initial_state and invite may have at most %d entries together; send the others once the room is there.", maxInitial)
	}
	if len(req.Invite3PID) > 0 {
		return nil, mxerr.New(403, "M_THREEPID_DENIED", "This server does not invite by e-mail address or phone number.")
	}
	room, err := s.Create(ctx, rooms.Creation{
		Creator: c.UserID, Version: req.RoomVersion, Preset: req.Preset, Public: req.Visibility == "public",
		AliasName: req.AliasName, Name: req.Name, Topic: req.Topic, Invite: req.Invite, IsDirect: req.IsDirect,
		Content: req.Content, InitialState: req.InitialState, PowerOverride: req.PowerLevels,
	})
	if err != nil {
		return nil, err
	}
	return &createRoomResponse{room}, nil
}
