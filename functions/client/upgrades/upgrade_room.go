package upgrades

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// upgradeRoom replaces a room by one of another version.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade
var upgradeRoom = route.Route{
	Name:    "upgradeRoom",
	Pattern: "POST /_matrix/client/v3/rooms/{roomId}/upgrade",
	Also:    route.R0,
	Limit:   route.LimitJoin,
	Size:    route.Large,
	Uses:    rooms.Creates,
	Handler: route.Handle(home.Rooms, serveUpgradeRoom),
}

type upgradeRoomRequest struct {
	RoomID     string   `path:"roomId"`
	NewVersion string   `json:"new_version" required:"true"`
	Creators   []string `json:"additional_creators"`
}

type upgradeRoomResponse struct {
	ReplacementRoom string `json:"replacement_room"`
}

func serveUpgradeRoom(ctx context.Context, s *rooms.Service, c route.Caller, req *upgradeRoomRequest) (*upgradeRoomResponse, error) {
	room, err := s.Upgrade(ctx, c.UserID, req.RoomID, req.NewVersion, req.Creators)
	if err != nil {
		return nil, err
	}
	return &upgradeRoomResponse{room}, nil
}
