package directory

import (
	"context"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// getLocalAliases lists the aliases that this server has for a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases
var getLocalAliases = route.Route{
	Name:    "getLocalAliases",
	Pattern: "GET /_matrix/client/v3/rooms/{roomId}/aliases",
	Also:    route.R0.And("/_matrix/client/unstable/org.matrix.msc2432/rooms/{roomId}/aliases"),
	Limit:   route.LimitRequest,
	Uses:    rooms.ListsAliases,
	Handler: route.Handle(home.Rooms, serveGetLocalAliases),
}

type getLocalAliasesRequest struct {
	RoomID string `path:"roomId"`
}

type getLocalAliasesResponse struct {
	Aliases []string `json:"aliases"`
}

func serveGetLocalAliases(ctx context.Context, s *rooms.Service, c route.Caller, req *getLocalAliasesRequest) (*getLocalAliasesResponse, error) {
	aliases, err := s.AliasesOf(ctx, c.UserID, req.RoomID)
	if err != nil {
		return nil, err
	}
	return &getLocalAliasesResponse{aliases}, nil
}
