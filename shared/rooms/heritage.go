package rooms

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/shared/timeline"
)

// inherited is the state that a new room takes over as it is, in the order in which
// it is sent. Levels and join rules have to fit the new version.
//
// https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-16
var inherited = []string{
	"m.room.join_rules", typeVisibility, "m.room.guest_access", "m.room.canonical_alias", "m.room.server_acl",
	"m.room.encryption", "m.room.name", "m.room.avatar", "m.room.topic",
}

// maxHeritage is how many bans, and how many children of a space, a new room takes over:
// a request has no time for more.
const maxHeritage = 1000

// heritage lists the events that a room's replacement begins with: what makes it,
// the state that it takes over, the children of a space, and the bans.
func (s *Service) heritage(ctx context.Context, room string, head *timeline.Head, next replacement, creators []string) ([]Draft, error) {
	v, _ := roomversion.Get(next.Version)
	keys := []auth.Key{createKey, levelsKey}
	for _, typ := range inherited {
		keys = append(keys, auth.Key{Type: typ})
	}
	rows, err := s.Timeline.StateEvents(ctx, room, head.CurrentRoot(), keys...)
	if err != nil {
		return nil, err
	}
	old := map[string]json.RawMessage{}
	was := []string{} // creators
	for _, r := range rows {
		e, err := r.Visible()
		if err != nil {
			return nil, err
		}
		old[e.Type] = e.Content
		if e.Type == typeCreate && head.V().Creators {
			was = append(was, e.Sender)
			for c := range canonicaljson.Elements(canonicaljson.Get(e.Content, "additional_creators")) {
				user, _ := canonicaljson.String(c)
				was = append(was, user)
			}
		}
	}
	member, err := s.memberContent(ctx, next.By, "join", "")
	if err != nil {
		return nil, err
	}
	levels, first := inheritLevels(v, head.V(), old[levelsKey.Type], next.By, creators, was)
	var drafts []Draft
	set := func(typ, stateKey string, content []byte) {
		if _, err := canonicaljson.Encode(content, v.JSONMode()); err == nil {
			drafts = append(drafts, Draft{Type: typ, Sender: next.By, StateKey: &stateKey, Content: content})
		} // else the new version cannot say it
	}
	set(typeCreate, "", createOf(v, head, room, next.By, creators, old[typeCreate]))
	set(typeMember, next.By, member)
	set(levelsKey.Type, "", raw(first))
	for _, typ := range inherited {
		content := old[typ]
		switch typ {
		case "m.room.join_rules":
			content = inheritRule(v, content)
		case "m.room.canonical_alias":
			if content, err = s.inheritAliases(ctx, room, content); err != nil {
				return nil, err
			}
		}
		if len(content) > 0 && string(content) != "{}" {
			set(typ, "", content)
		}
	}
	if kind, _ := canonicaljson.String(canonicaljson.Get(old[typeCreate], "type")); kind == "m.space" {
		children, err := s.Timeline.SpaceChildren(ctx, room, head, false)
		if err != nil {
			return nil, err
		}
		for _, c := range children[:min(len(children), maxHeritage)] {
			set(c.Type, c.StateKey, c.Content)
		}
	}
	if err := s.inheritBans(ctx, room, head, v, next.By, creators, first, set); err != nil {
		return nil, err
	}
	if !maps.EqualFunc(levels, first, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
		set(levelsKey.Type, "", raw(levels))
	}
	drafts[len(drafts)-1].last = true
	return drafts, nil
}

// createOf is the content of the create event of a room that replaces another.
func createOf(v *roomversion.Version, head *timeline.Head, room, user string, creators []string, old json.RawMessage) json.RawMessage {
	predecessor := map[string]string{"room_id": room}
	if n := len(head.Extremities); n > 0 {
		predecessor["event_id"] = head.Extremities[n-1].ID // the last known event
	}
	content := map[string]any{"room_version": v.ID, "predecessor": predecessor}
	for _, key := range []string{"type", "m.federate"} {
		if value := canonicaljson.Get(old, key); value != nil {
			content[key] = json.RawMessage(value)
		}
	}
	if !v.SenderCreates {
		content["creator"] = user
	}
	if len(creators) > 0 {
		content["additional_creators"] = creators
	}
	return raw(content)
}

// inheritRule is the content of m.room.join_rules with the strictest rule of the
// new version that is like the old one.
func inheritRule(v *roomversion.Version, content json.RawMessage) json.RawMessage {
	rule, _ := canonicaljson.String(canonicaljson.Get(content, "join_rule"))
	fits := rule
	if fits == "knock_restricted" && !v.KnockRestricted {
		fits = "restricted"
	}
	if fits == "restricted" && !v.Restricted || fits == "knock" && !v.Knock {
		fits = "invite"
	}
	if fits == rule {
		return content
	}
	var c map[string]json.RawMessage
	if json.Unmarshal(content, &c) != nil {
		return nil
	}
	c["join_rule"] = raw(fits)
	return raw(c)
}

// inheritAliases is an m.room.canonical_alias with the local aliases alone, which
// are going to point to the new room.
func (s *Service) inheritAliases(ctx context.Context, room string, content json.RawMessage) (json.RawMessage, error) {
	var c canonicalAlias
	if json.Unmarshal(content, &c) != nil {
		return nil, nil
	}
	local, err := s.Directory.OfRoom(ctx, room)
	if err != nil {
		return nil, err
	}
	kept := map[string]any{}
	if slices.Contains(local, c.Alias) {
		kept["alias"] = c.Alias
	}
	if c.Alt = slices.DeleteFunc(c.Alt, func(a string) bool { return !slices.Contains(local, a) }); len(c.Alt) > 0 {
		kept["alt_aliases"] = c.Alt
	}
	return raw(kept), nil
}

// inheritBans sends the bans of those whom the user may ban in the new room.
func (s *Service) inheritBans(ctx context.Context, room string, head *timeline.Head, v *roomversion.Version, user string, creators []string, levels map[string]json.RawMessage, set func(typ, stateKey string, content []byte)) error {
	banned, err := s.Timeline.Members(ctx, room, head, "", "ban")
	if err != nil {
		return err
	}
	banned = banned[:min(len(banned), maxHeritage)]
	ids := make([]string, len(banned))
	for i, m := range banned {
		ids[i] = m.ID
	}
	rows, err := s.Timeline.EventsByID(ctx, room, ids)
	if err != nil {
		return err
	}
	own := userLevel(levels, user)
	for _, m := range banned {
		if slices.Contains(creators, m.StateKey) || !v.Creators && userLevel(levels, m.StateKey) >= own {
			continue
		}
		content := map[string]string{"membership": "ban"}
		if r := rows[m.ID]; r != nil {
			e, err := r.Visible()
			if err != nil {
				return err
			}
			if reason, _ := canonicaljson.String(canonicaljson.Get(e.Content, "reason")); reason != "" {
				content["reason"] = reason
			}
		}
		set(typeMember, m.StateKey, raw(content))
	}
	return nil
}

// inheritLevels are the levels of the new room, and those that it has at first: in
// versions without creators the user may need more to send what is taken over.
// Creators of the new room are not listed; those of the old one, where the new one
// has none, get a level that is enough for everything.
func inheritLevels(v, was *roomversion.Version, content json.RawMessage, user string, creators, old []string) (levels, first map[string]json.RawMessage) {
	if json.Unmarshal(content, &levels) != nil || len(levels) == 0 {
		levels = powerLevels(v, Creation{Creator: user})
	}
	levels = maps.Clone(levels)
	users, events := levelMap(levels["users"]), levelMap(levels["events"])
	if v.IntegerLevels && !was.IntegerLevels {
		integers(levels)
		integers(users)
		integers(events)
		if levels["notifications"] != nil {
			notifications := levelMap(levels["notifications"])
			integers(notifications)
			levels["notifications"] = raw(notifications)
		}
	}
	if v.Creators && !was.Creators {
		// As createRoom does it: those who may change other state may not upgrade.
		if n, _ := levelNumber(events[typeTombstone]); n < 150 {
			events[typeTombstone] = raw(150)
		}
	}
	needed := int64(50)
	for _, value := range slices.Concat(slices.Collect(maps.Values(events)), []json.RawMessage{levels["state_default"], levels["ban"]}) {
		n, _ := levelNumber(value)
		needed = max(needed, n)
	}
	for _, c := range append(slices.Clone(creators), user) {
		if v.Creators {
			delete(users, c)
		}
	}
	if !v.Creators {
		for _, c := range old {
			users[c] = raw(max(needed, 100))
		}
	}
	levels["users"], levels["events"] = raw(users), raw(events)
	if v.Creators || userLevel(levels, user) >= needed {
		return levels, levels
	}
	first = maps.Clone(levels)
	users = maps.Clone(users)
	users[user] = raw(needed)
	first["users"] = raw(users)
	return levels, first
}

// levelMap reads a map of levels; what is no map is empty.
func levelMap(value json.RawMessage) map[string]json.RawMessage {
	var levels map[string]json.RawMessage
	if json.Unmarshal(value, &levels) != nil || levels == nil {
		return map[string]json.RawMessage{}
	}
	return levels
}

// integers makes the levels of a map integers, as later versions have them, and
// leaves out those that are none. What is itself a map is for the caller.
func integers(levels map[string]json.RawMessage) {
	for key, value := range levels {
		if canonicaljson.IsObject(value) {
			continue
		}
		if n, ok := levelNumber(value); ok {
			levels[key] = raw(n)
		} else {
			delete(levels, key)
		}
	}
}

// levelNumber reads a level, which in old versions may be a string or a float.
func levelNumber(value json.RawMessage) (int64, bool) {
	text := strings.TrimSpace(strings.Trim(string(value), `"`))
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < -1<<53 || f > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

func userLevel(levels map[string]json.RawMessage, user string) int64 {
	if n, ok := levelNumber(levelMap(levels["users"])[user]); ok {
		return n
	}
	n, _ := levelNumber(levels["users_default"])
	return n
}
