package rooms

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/shared/timeline"
)

var (
	createKey    = auth.Key{Type: typeCreate}
	levelsKey    = auth.Key{Type: "m.room.power_levels"}
	joinRulesKey = auth.Key{Type: "m.room.join_rules"}
)

// keyAuthorised names, in the content of a join, the member who vouches for it. The
// server of that member signs the event; for a local member that is this server,
// which therefore writes the key itself and takes it from nobody.
const keyAuthorised = "join_authorised_via_users_server"

// unauthorised is the content of a membership event without keyAuthorised. Clients
// send it back when they change a name that the membership shows, and others could
// claim it to join a room that is not open to them.
func unauthorised(content json.RawMessage) json.RawMessage {
	var c map[string]json.RawMessage
	if json.Unmarshal(content, &c) != nil || c[keyAuthorised] == nil {
		return content
	}
	delete(c, keyAuthorised)
	return raw(c)
}

// authoriseJoin is authoriseRestricted for users who are not in the room, nor
// invited.
func (b *batch) authoriseJoin(ctx context.Context, user string, content json.RawMessage) (json.RawMessage, error) {
	was, err := b.memberOf(ctx, user)
	if err != nil || was == "join" || was == "invite" {
		return content, err
	}
	return b.authoriseRestricted(ctx, user, content)
}

// authoriseRestricted adds join_authorised_via_users_server to the content of a
// join, if the room is restricted, the user is in one of the rooms it allows, and
// a local member may invite. Otherwise the content stays as it is, and the
// authorisation rules say what is missing.
//
// https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms
func (b *batch) authoriseRestricted(ctx context.Context, user string, content json.RawMessage) (json.RawMessage, error) {
	state, err := b.state(ctx, []auth.Key{createKey, levelsKey, joinRulesKey})
	if err != nil {
		return nil, err
	}
	rule := state[joinRulesKey]
	if !b.v.Restricted || rule == nil ||
		rule.Content.JoinRule != "restricted" && (!b.v.KnockRestricted || rule.Content.JoinRule != "knock_restricted") {
		return content, nil
	}
	allowed, err := b.allowedByRoom(ctx, user, rule.ID)
	if err != nil || !allowed {
		return content, err
	}
	members, err := b.s.Timeline.Members(ctx, b.room, &b.head, timeline.Local, "join")
	if err != nil {
		return nil, err
	}
	levels := auth.Levels(b.v, state)
	for _, m := range members {
		if levels.UserLevel(m.StateKey) < levels.Invite() {
			continue
		}
		var c map[string]json.RawMessage
		if err := json.Unmarshal(content, &c); err != nil {
			return nil, err
		}
		c[keyAuthorised] = raw(m.StateKey)
		return raw(c), nil
	}
	return content, nil
}

// allowedByRoom reports whether the user is in a room that the join rules event
// allows.
func (b *batch) allowedByRoom(ctx context.Context, user, joinRules string) (bool, error) {
	rows, err := b.s.Timeline.EventsByID(ctx, b.room, []string{joinRules})
	if err != nil || rows[joinRules] == nil {
		return false, err
	}
	e, err := rows[joinRules].Event()
	if err != nil {
		return false, err
	}
	var rules struct {
		Allow []struct {
			Type   string `json:"type"`
			RoomID string `json:"room_id"`
		} `json:"allow"`
	}
	if json.Unmarshal(e.Content, &rules) != nil {
		return false, nil // a malformed list allows nobody
	}
	for _, a := range rules.Allow {
		if a.Type != "m.room_membership" {
			continue
		}
		c, err := b.s.Log.Cursor(ctx, user, a.RoomID)
		if err != nil {
			return false, err
		}
		if c.Membership == "join" {
			return true, nil
		}
	}
	return false, nil
}
