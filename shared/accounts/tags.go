package accounts

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/mxerr"
)

// tagType is the room account data that holds the tags, so that they reach the
// user's devices as all account data does.
const tagType = "m.tag"

// maxTag bounds the name of a tag, in bytes, as the specification does.
const maxTag = 255

// Tags are what a user has tagged a room with: the contents of the tags, which
// are objects, by name.
type Tags map[string]json.RawMessage

// Tags returns the user's tags of a room, which may be none.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-tagging
func (s *Service) Tags(ctx context.Context, user, room string) (Tags, error) {
	row, ok, err := s.accountDataRow(ctx, user, room, tagType)
	if err != nil || !ok {
		return Tags{}, err
	}
	tags, _ := readTags(json.RawMessage(row.Content))
	return tags, nil
}

// SetTag tags a room of the user. Tags that two devices set at the same time are
// both kept. The content is a JSON object.
func (s *Service) SetTag(ctx context.Context, user, room, tag string, content json.RawMessage) error {
	if err := checkTag(tag); err != nil {
		return err
	}
	if err := checkOrder(content); err != nil {
		return err
	}
	return s.UpdateAccountData(ctx, user, room, tagType, func(was json.RawMessage) (json.RawMessage, error) {
		tags, rest := readTags(was)
		tags[tag] = content
		return writeTags(tags, rest)
	})
}

// DeleteTag removes a tag from a room of the user. A tag that is not there is
// removed already, and the devices are told once more, since the request that
// removed it may have died before it did.
func (s *Service) DeleteTag(ctx context.Context, user, room, tag string) error {
	if err := checkTag(tag); err != nil {
		return err
	}
	if _, ok, err := s.accountDataRow(ctx, user, room, tagType); err != nil || !ok {
		return err
	}
	return s.UpdateAccountData(ctx, user, room, tagType, func(was json.RawMessage) (json.RawMessage, error) {
		tags, rest := readTags(was)
		delete(tags, tag)
		return writeTags(tags, rest)
	})
}

// readTags reads the content of m.tag, with whatever else is in it. Clients may
// also write it as account data, and then it may be anything: what is no tag is
// none.
func readTags(content json.RawMessage) (tags Tags, rest map[string]json.RawMessage) {
	_ = json.Unmarshal(content, &rest)
	_ = json.Unmarshal(rest["tags"], &tags)
	if tags == nil {
		tags = Tags{}
	}
	for tag, value := range tags {
		var object map[string]json.RawMessage
		if json.Unmarshal(value, &object) != nil || object == nil {
			delete(tags, tag)
		}
	}
	return tags, rest
}

func writeTags(tags Tags, rest map[string]json.RawMessage) (json.RawMessage, error) {
	if rest == nil {
		rest = map[string]json.RawMessage{}
	}
	var err error
	if rest["tags"], err = json.Marshal(tags); err != nil {
		return nil, err
	}
	return json.Marshal(rest)
}

func checkTag(tag string) error {
	if tag == "" || len(tag) > maxTag {
		return mxerr.InvalidParam("The name of a tag has 1 to %d bytes.", maxTag)
	}
	return nil
}

// checkOrder refuses an order that other clients could not sort by.
func checkOrder(content json.RawMessage) error {
	var tag struct {
		Order json.RawMessage `json:"order"`
	}
	if err := json.Unmarshal(content, &tag); err != nil {
		return mxerr.BadJSON("The content of a tag must be a JSON object.")
	}
	if tag.Order == nil {
		return nil
	}
	var order *float64
	if err := json.Unmarshal(tag.Order, &order); err != nil || order == nil || *order < 0 || *order > 1 {
		return mxerr.InvalidParam("The order of a tag is a number from 0 to 1.")
	}
	return nil
}
