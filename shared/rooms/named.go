package rooms

import (
	"context"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/mxerr"
)

// Resolve returns the id of a room that a client names by its id or an alias. An
// alias that does not exist is M_NOT_FOUND; that a room exists is not checked.
func (s *Service) Resolve(ctx context.Context, name string) (string, error) {
	switch {
	case id.ValidAlias(name):
		found, err := s.Directory.Lookup(ctx, name)
		return found.Room, err
	case !id.ValidRoom(name):
		return "", mxerr.InvalidParam("%q is neither a room id nor a room alias.", name)
	}
	return name, nil
}
