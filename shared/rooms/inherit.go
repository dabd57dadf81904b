package rooms

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/timeline"
)

// inherit gives local users who have come into a room that replaces another what was
// theirs there: the tags, the push rules, and that it is a direct chat. It may be
// done again. What cannot be given, for want of space, is not.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
func (s *Service) inherit(ctx context.Context, room string, own map[string]string, head *timeline.Head) error {
	if len(own) == 0 {
		return nil
	}
	from, err := s.predecessor(ctx, room, head)
	if err != nil || from == "" || from == room {
		return err
	}
	for _, user := range slices.Sorted(maps.Keys(own)) {
		if err := s.inheritFrom(ctx, user, own[user], from, room); mxerr.Is(err, "M_TOO_LARGE") {
			slog.InfoContext(ctx, "no space for what was inherited", "user_id", user, "room_id", room)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) predecessor(ctx context.Context, room string, head *timeline.Head) (string, error) {
	rows, err := s.Timeline.StateEvents(ctx, room, head.CurrentRoot(), auth.Key{Type: "m.room.create"})
	if err != nil || len(rows) == 0 {
		return "", err
	}
	from, _ := canonicaljson.String(canonicaljson.Get(canonicaljson.Get(canonicaljson.Get(rows[0].JSON, "content"), "predecessor"), "room_id"))
	return from, nil
}

func (s *Service) inheritFrom(ctx context.Context, user, eventID, from, to string) error {
	c, err := s.Log.Cursor(ctx, user, to)
	if err != nil {
		return err
	}
	// A new name is no coming in: it is no transition.
	if n := len(c.Transitions); c.Membership != "join" || n == 0 || c.Transitions[n-1].EventID != eventID {
		return nil
	}
	was, err := s.Log.Cursor(ctx, user, from)
	if err != nil || was.Membership == "" {
		return err
	}
	tags, err := s.Accounts.AccountDataItem(ctx, user, from, "m.tag")
	switch {
	case err == nil:
		err = s.Accounts.UpdateAccountData(ctx, user, to, "m.tag", func(content json.RawMessage) (json.RawMessage, error) {
			if content != nil {
				return nil, errInherited
			}
			return tags.Content, nil
		})
	case mxerr.Is(err, "M_NOT_FOUND"):
		err = nil
	}
	if err != nil && !errors.Is(err, errInherited) {
		return err
	}
	err = s.Accounts.UpdateAccountData(ctx, user, "", "m.direct", func(content json.RawMessage) (json.RawMessage, error) {
		return inheritDirect(content, from, to)
	})
	if err != nil && !errors.Is(err, errInherited) {
		return err
	}
	return s.Push.Inherit(ctx, user, from, to)
}

// errInherited ends an update that changes nothing.
var errInherited = errors.New("nothing to inherit")

// inheritDirect puts the new room beside the old one in the content of m.direct. A
// client may write anything there; what is not of its form is left.
func inheritDirect(content json.RawMessage, from, to string) (json.RawMessage, error) {
	var people map[string]json.RawMessage
	if json.Unmarshal(content, &people) != nil {
		return nil, errInherited
	}
	changed := false
	for who, text := range people {
		var rooms []string
		if json.Unmarshal(text, &rooms) == nil && slices.Contains(rooms, from) && !slices.Contains(rooms, to) {
			people[who] = raw(append(rooms, to))
			changed = true
		}
	}
	if !changed {
		return nil, errInherited
	}
	return raw(people), nil
}
