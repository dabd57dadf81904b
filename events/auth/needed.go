package auth

import (
	"slices"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/roomversion"
)

// Needed is the auth events selection: the state that an event cites in its
// auth_events, as far as it is set. From room version 12 on that leaves out the
// create event. ViewOfBuilder makes a View of an event that is not built yet.
//
// https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
func Needed(v *roomversion.Version, e *View) []Key {
	if e.Type == typeCreate {
		return nil
	}
	keys := make([]Key, 0, 6)
	if !v.HashRoomIDs {
		keys = append(keys, Key{typeCreate, ""})
	}
	keys = append(keys, Key{typePowerLevels, ""}, Key{typeMember, e.Sender})
	if e.Type != typeMember || !e.State {
		return keys
	}
	add := func(k Key) {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	add(Key{typeMember, e.StateKey})
	c := &e.Content
	switch c.Membership {
	case "join", "invite", "knock":
		add(Key{typeJoinRules, ""})
	}
	if c.Membership == "invite" && c.ThirdPartySigned != nil && c.ThirdPartySigned.Complete {
		add(Key{typeThirdPartyInvite, c.ThirdPartySigned.Token})
	}
	if c.Membership == "join" && v.Restricted && c.Authorised != "" {
		add(Key{typeMember, c.Authorised})
	}
	return keys
}

// Reads is the state that Check looks at: Needed, and always the create event.
func Reads(v *roomversion.Version, e *View) []Key {
	keys := Needed(v, e)
	if v.HashRoomIDs && e.Type != typeCreate {
		keys = append(keys, Key{typeCreate, ""})
	}
	return keys
}

// Signers lists the servers whose signature an event must have: the sender's,
// unless the event is a third-party invite; in room versions 1 and 2 that of
// the event id; and that of the user who authorised a join (rule
// join_authorised_via_users_server, from version 8 on).
//
// That rule, 4.2 (5.2 in version 12), is of every membership in the spec. Here it
// is of joins, as in Synapse and Dendrite: clients copy the key into the leaves
// and bans that they make of a join, nobody signs those, and a server that
// refused them would not know of the ban.
//
// https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
func Signers(v *roomversion.Version, e *View) []string {
	var servers []string
	add := func(identifier string) {
		if s := id.Server(identifier); s != "" && !slices.Contains(servers, s) {
			servers = append(servers, s)
		}
	}
	thirdParty := e.Type == typeMember && e.Content.Membership == "invite" && e.Content.HasThirdParty
	if !thirdParty {
		add(e.Sender)
	}
	if v.GivenEventIDs() {
		add(e.ID)
	}
	if v.Restricted && e.Type == typeMember && e.Content.Membership == "join" {
		add(e.Content.Authorised)
	}
	return servers
}

// CheckAuthEvents judges an event's choice of auth_events: no duplicates, none
// that the selection does not name, none rejected, none of another room, and the
// create event where the room version wants it. auth holds the views of
// e.AuthEvents, in any order; one that is missing rejects the event.
//
// Check is then applied to the state that these events make up.
func CheckAuthEvents(v *roomversion.Version, e *View, auth []*View) error {
	if e.Type == typeCreate {
		return nil // rule 1 decides alone
	}
	byID := make(map[string]*View, len(auth))
	for _, a := range auth {
		if a != nil {
			byID[a.ID] = a
		}
	}
	needed := Needed(v, e)
	seen := make([]Key, 0, len(needed))
	for _, ref := range e.AuthEvents {
		a := byID[ref]
		if a == nil {
			return rejection(v, authUnknown, "the auth event %s is not known", ref)
		}
		k := a.Key()
		switch {
		case slices.Contains(seen, k):
			return rejection(v, authTwice, "two auth events are %s %q", k.Type, k.StateKey)
		case !a.State || !slices.Contains(needed, k):
			return rejection(v, authUnneeded, "the auth event %s %q has no bearing on the event", k.Type, k.StateKey)
		case a.Rejected:
			return rejection(v, authRejected, "the auth event %s was itself rejected", ref)
		case a.Room != e.Room:
			return rejection(v, authOtherRoom, "the auth event %s belongs to another room", ref)
		}
		seen = append(seen, k)
	}
	if !v.HashRoomIDs && !slices.Contains(seen, Key{typeCreate, ""}) {
		return rejection(v, authNoCreate, "the create event is not among the auth events")
	}
	return nil
}
