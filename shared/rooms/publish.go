package rooms

import (
	"context"

	"github.com/virga-im/virga/shared/directory"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// ReadsPublished is what IsPublished uses, and Publishes what SetPublished does.
var (
	ReadsPublished = grant.ReadTable("rooms", "server")
	Publishes      = grant.Of(timeline.Reads, directory.Lists, grant.WriteTable("server"))
)

// IsPublished reports whether a room is published, or M_NOT_FOUND if it is not
// known.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid
func (s *Service) IsPublished(ctx context.Context, room string) (bool, error) {
	if _, err := s.Timeline.Head(ctx, room); err != nil {
		return false, err
	}
	p, err := s.Directory.Publication(ctx, room)
	return p.Published, err
}

// SetPublished publishes a room in the directory, or takes it out again. Those
// members may who may set its canonical alias. To say again what is so does
// nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid
func (s *Service) SetPublished(ctx context.Context, user, room string, public bool) error {
	head, err := s.Timeline.Head(ctx, room)
	if err != nil {
		return err
	}
	may, err := s.maySend(ctx, user, room, head, "m.room.canonical_alias")
	if err != nil {
		return err
	}
	if !may {
		return mxerr.Forbidden("You may not say whether this room is in the directory; those may who may set its main alias.")
	}
	if !public {
		return s.unpublish(ctx, room)
	}
	if err := s.Directory.Publish(ctx, room); err != nil {
		return err
	}
	return s.relist(ctx, room)
}

func (s *Service) unpublish(ctx context.Context, room string) error {
	return s.relisting(ctx, room, func(p directory.Publication) error {
		return s.Directory.Unpublish(ctx, room, p)
	})
}

// relist makes the directory show a room, if it is published, as it is now. Of two
// at once one is refused by the condition on the publication, which it has read
// before the room, and looks again; so what is shown never goes back.
func (s *Service) relist(ctx context.Context, room string) error {
	return s.relisting(ctx, room, func(p directory.Publication) error {
		head, err := s.Timeline.Head(ctx, room)
		if err != nil {
			return err
		}
		o, err := s.Timeline.Outside(ctx, room, head)
		if err != nil {
			return err
		}
		return s.Directory.List(ctx, &o.Listing, p)
	})
}

func (s *Service) relisting(ctx context.Context, room string, do func(directory.Publication) error) error {
	for try := range maxTries {
		p, err := s.Directory.Publication(ctx, room)
		if err != nil || !p.Published {
			return err
		}
		if err = do(p); store.Failed(err) == nil && !busy(err) {
			return err
		}
		if err := s.pause(ctx, try); err != nil {
			return err
		}
	}
	return errBusy
}
