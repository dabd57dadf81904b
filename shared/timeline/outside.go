package timeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/shared/directory"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// Outside is a room as it shows itself to those who are not in it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
type Outside struct {
	directory.Listing
	// Allowed are the rooms whose members may join, if the room is restricted.
	Allowed    []string `json:"allowed_room_ids,omitempty"`
	Encryption string   `json:"encryption,omitempty"`
	Version    string   `json:"room_version,omitempty"`
}

// shownOutside is the state that Outside is made of. The history visibility is in
// the room's Head.
var shownOutside = []auth.Key{
	{Type: "m.room.create"}, {Type: "m.room.join_rules"}, {Type: "m.room.name"}, {Type: "m.room.avatar"}, {Type: "m.room.topic"},
	{Type: "m.room.canonical_alias"}, {Type: "m.room.encryption"}, {Type: "m.room.guest_access"},
}

// Outside reads what a room that stands at head shows of itself. Who may see it is
// for the caller to know. It costs a few reads, whatever the number of members.
func (s *Service) Outside(ctx context.Context, room string, head *Head) (*Outside, error) {
	o := &Outside{Version: head.RoomVersion}
	o.RoomID, o.JoinRule, o.WorldReadable = room, "invite", head.Visibility == worldReadable
	rows, err := s.StateEvents(ctx, room, head.CurrentRoot(), shownOutside...)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		e, err := r.Visible()
		if err != nil {
			return nil, err
		}
		o.read(e)
	}
	o.Joined, err = s.countJoined(ctx, room, head)
	return o, err
}

// read takes over what an event says. Events may hold anything; what is not of the
// form that it should have is as if it were not there.
func (o *Outside) read(e *pdu.Event) {
	str := func(key string) string {
		text, _ := canonicaljson.String(canonicaljson.Get(e.Content, key))
		return text
	}
	switch e.Type {
	case "m.room.create":
		o.RoomType = str("type")
	case "m.room.join_rules":
		if rule := str("join_rule"); rule != "" {
			o.JoinRule = rule
		}
		if o.restricted() {
			o.Allowed = AllowedRooms(e.Content)
		}
	case "m.room.name":
		o.Name = str("name")
	case "m.room.avatar":
		o.AvatarURL = str("url")
	case "m.room.topic":
		o.Topic = plainTopic(e.Content)
	case "m.room.canonical_alias":
		o.Alias = str("alias")
	case "m.room.encryption":
		o.Encryption = str("algorithm")
	case "m.room.guest_access":
		o.GuestCanJoin = str("guest_access") == "can_join"
	}
}

func (o *Outside) restricted() bool {
	return o.JoinRule == "restricted" || o.JoinRule == "knock_restricted"
}

// AllowedRooms lists the rooms whose members the content of an m.room.join_rules
// event lets in.
//
// https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms
func AllowedRooms(content []byte) []string {
	var rooms []string
	for allow := range canonicaljson.Elements(canonicaljson.Get(content, "allow")) {
		typ, _ := canonicaljson.String(canonicaljson.Get(allow, "type"))
		room, _ := canonicaljson.String(canonicaljson.Get(allow, "room_id"))
		if typ == "m.room_membership" && room != "" && !slices.Contains(rooms, room) {
			rooms = append(rooms, room)
		}
	}
	return rooms
}

// plainTopic is the topic as plain text: the first such representation, or what
// stands there for clients that know of no others.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroomtopic
func plainTopic(content []byte) string {
	for text := range canonicaljson.Elements(canonicaljson.Get(canonicaljson.Get(content, "m.topic"), "m.text")) {
		mime, isText := canonicaljson.String(canonicaljson.Get(text, "mimetype"))
		if isText && mime != "text/plain" {
			continue
		}
		if body, ok := canonicaljson.String(canonicaljson.Get(text, "body")); ok {
			return body
		}
	}
	topic, _ := canonicaljson.String(canonicaljson.Get(content, "topic"))
	return topic
}

// countJoined counts the joined members of a room, by a row for each server.
func (s *Service) countJoined(ctx context.Context, room string, head *Head) (int64, error) {
	if !head.RowsCurrent() {
		members, err := s.membersOfState(ctx, room, head.CurrentRoot(), "", "join")
		return int64(len(members)), err
	}
	var n int64
	q := store.Query{Table: store.Rooms, Part: RoomPart(room), Consistency: store.Consistent}.Prefix(serverPre)
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return 0, fmt.Errorf("count members of %s: %w", room, err)
		}
		n += it.Int("n")
	}
	return n, nil
}

// mayEnter reports whether a user, nobody if empty, is in the room or may join it
// by the join rules, may knock at it, or may read it from outside.
func (s *Service) mayEnter(ctx context.Context, user string, o *Outside, c userlog.Cursor) (bool, error) {
	if o.WorldReadable || c.Membership == "join" || c.Membership == "invite" {
		return true, nil
	}
	v, _ := roomversion.Get(o.Version)
	switch rule := o.JoinRule; {
	case rule == "public", rule == "knock" && v.Knock, rule == "knock_restricted" && v.KnockRestricted:
		return true, nil
	case rule == "restricted" && v.Restricted && user != "":
		for _, room := range o.Allowed {
			in, err := s.Log.Cursor(ctx, user, room)
			if err != nil || in.Membership == "join" {
				return err == nil, err
			}
		}
	}
	return false, nil
}

// RoomSummary is a room as /room_summary shows it.
type RoomSummary struct {
	Outside
	// Membership is the user's, empty if nobody asks.
	Membership string `json:"membership,omitempty"`
}

// RoomSummary returns what a user, or nobody if empty, may know of a room before
// joining it. A room of which that is nothing is M_NOT_FOUND, like one that is not
// there.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
func (s *Service) RoomSummary(ctx context.Context, user, room string) (*RoomSummary, error) {
	hidden := mxerr.NotFound("There is no room %s that you may know of.", room)
	head, err := s.Head(ctx, room)
	if mxerr.Is(err, "M_NOT_FOUND") {
		return nil, hidden
	}
	if err != nil {
		return nil, err
	}
	var c userlog.Cursor
	if user != "" {
		if c, err = s.Log.Cursor(ctx, user, room); err != nil {
			return nil, err
		}
	}
	o, err := s.Outside(ctx, room, head)
	if err != nil {
		return nil, err
	}
	if ok, err := s.mayEnter(ctx, user, o, c); err != nil {
		return nil, err
	} else if !ok {
		return nil, hidden
	}
	sum := &RoomSummary{Outside: *o, Membership: c.Membership}
	if user != "" && sum.Membership == "" {
		sum.Membership = "leave"
	}
	return sum, nil
}
