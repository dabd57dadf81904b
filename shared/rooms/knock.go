package rooms

import (
	"context"

	"github.com/virga-im/virga/shared/mxerr"
)

// Knock asks for an invite to a room. To knock again does nothing while nobody has
// answered; whoever is invited meanwhile, is in the room or is banned may not knock.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias
func (s *Service) Knock(ctx context.Context, user, room, reason string) error {
	content, err := s.memberContent(ctx, user, "knock", reason)
	if err != nil {
		return err
	}
	sent, err := s.append(ctx, room, user, func(ctx context.Context, b *batch) error {
		was, err := b.memberOf(ctx, user)
		switch {
		case err != nil || was == "knock":
			return err
		case was == "join":
			return mxerr.Forbidden("You are in the room already.")
		case was == "invite":
			return mxerr.Forbidden("You are invited to the room; join it.")
		case was == "ban":
			return mxerr.Forbidden("You are banned from the room.")
		case !b.v.Knock:
			return mxerr.Forbidden("Nobody can knock at a room of version %s.", b.v.ID)
		}
		return b.add(ctx, Draft{Type: typeMember, Sender: user, StateKey: &user, Content: content})
	})
	if err != nil || len(sent) > 0 {
		return err
	}
	// It was done before, perhaps by a request that died before it told the log.
	return s.Log.Moved(ctx, user, room, 0, s.Timeline.Unread(room))
}
