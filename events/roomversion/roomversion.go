// Package roomversion says what each Matrix room version changes, in one table.
//
// The rest of Virga never compares version numbers: it asks a *Version for the
// one thing it wants to know. A new room version is a new row.
//
// https://spec.matrix.org/v1.19/rooms/
package roomversion

import "github.com/virga-im/virga/events/canonicaljson"

// Default is the version of new rooms for which the client names none.
const Default = "12"

// EventIDs says where an event's id comes from.
type EventIDs uint8

const (
	// EventIDGiven is a field of the event: $opaque:server (versions 1, 2).
	EventIDGiven EventIDs = iota
	// EventIDBase64 is the reference hash in standard unpadded base64 (version 3).
	EventIDBase64
	// EventIDURLSafe is the reference hash in URL-safe unpadded base64 (version 4 on).
	EventIDURLSafe
)

// StateRes names a state resolution algorithm.
type StateRes uint8

const (
	// StateResV1 is the algorithm of version 1.
	StateResV1 StateRes = iota + 1
	// StateResV2 is the algorithm of versions 2 to 11.
	StateResV2
	// StateResV21 is the algorithm of version 12: v2 from an empty state, with
	// the conflicted state subgraph.
	StateResV21
)

// Version is one row of the table. The zero value of each field is the oldest
// behaviour, that of version 1 or of the versions named in the comment.
type Version struct {
	ID     string
	Stable bool

	EventIDs EventIDs
	StateRes StateRes

	// StrictJSON: events must be canonical JSON (6 on). Before, floats and
	// integers of any size are accepted.
	StrictJSON bool
	// LongFields: type and state_key may have more than 255 bytes in events that
	// are kept as rejected, though not more than 255 characters (up to 10). This
	// is no rule of the spec: see pdu.Event.Overlong.
	LongFields bool
	// KeyValidity: a key's valid_until_ts must cover the event (5 on).
	KeyValidity bool

	// AliasesRule: m.room.aliases has a rule of its own and keeps its aliases
	// in redactions (up to 5).
	AliasesRule bool
	// RedactionRule: m.room.redaction is judged by the auth rules (up to 2).
	RedactionRule bool
	// NotificationLevels: changes to notifications are checked like events (6 on).
	NotificationLevels bool
	// Knock: the membership and join rule knock (7 on).
	Knock bool
	// Restricted: the join rule restricted (8 on).
	Restricted bool
	// KnockRestricted: the join rule knock_restricted (10 on).
	KnockRestricted bool
	// IntegerLevels: power levels are integers, never strings (10 on).
	IntegerLevels bool
	// FloatLevels: power levels may be floats, which are truncated (up to 5).
	FloatLevels bool

	// KeepAllow: redaction keeps allow of m.room.join_rules (8 on).
	KeepAllow bool
	// KeepAuthorised: redaction keeps join_authorised_via_users_server of
	// m.room.member (9 on).
	KeepAuthorised bool
	// KeepMore: redaction keeps the whole m.room.create, invite of
	// m.room.power_levels, redacts of m.room.redaction and the signed part of a
	// third-party invite, and drops origin, membership and prev_state (11 on).
	KeepMore bool

	// SenderCreates: the creator is the sender of m.room.create, and there is
	// no creator in its content (11 on).
	SenderCreates bool
	// RedactsInContent: a redaction names its event in content.redacts (11 on).
	RedactsInContent bool
	// HashRoomIDs: the room id is the hash of the create event, which has no
	// room_id and is never cited as an auth event (12 on).
	HashRoomIDs bool
	// Creators: creators stand above all power levels, and there may be
	// additional_creators (12 on).
	Creators bool
}

// JSONMode is how the JSON of this version's events is read.
func (v *Version) JSONMode() canonicaljson.Mode {
	if v.StrictJSON {
		return canonicaljson.Strict
	}
	return canonicaljson.Lenient
}

// GivenEventIDs reports whether events carry their id, and cite others as pairs
// of id and hashes.
func (v *Version) GivenEventIDs() bool { return v.EventIDs == EventIDGiven }

// Get returns a version by its identifier. ok is false for versions that Virga
// does not know: M_UNSUPPORTED_ROOM_VERSION or M_INCOMPATIBLE_ROOM_VERSION.
// The value is shared and must not be changed.
func Get(id string) (v *Version, ok bool) {
	for _, v := range table {
		if v.ID == id {
			return v, true
		}
	}
	return nil, false
}

// All returns every version, oldest first. The values are shared and must not
// be changed.
func All() []*Version { return append([]*Version(nil), table...) }

var table = build()

// build writes each version as its predecessor with the changes that the spec
// lists under "based on".
func build() []*Version {
	v := Version{
		Stable: true, EventIDs: EventIDGiven, StateRes: StateResV1,
		AliasesRule: true, RedactionRule: true, FloatLevels: true, LongFields: true,
	}
	var all []*Version
	add := func(id string, change func(*Version)) {
		change(&v)
		v.ID = id
		row := v
		all = append(all, &row)
	}
	add("1", func(*Version) {})
	add("2", func(v *Version) { v.StateRes = StateResV2 })
	add("3", func(v *Version) { v.EventIDs = EventIDBase64; v.RedactionRule = false })
	add("4", func(v *Version) { v.EventIDs = EventIDURLSafe })
	add("5", func(v *Version) { v.KeyValidity = true })
	add("6", func(v *Version) {
		v.StrictJSON = true
		v.AliasesRule = false
		v.NotificationLevels = true
		v.FloatLevels = false
	})
	add("7", func(v *Version) { v.Knock = true })
	add("8", func(v *Version) { v.Restricted = true; v.KeepAllow = true })
	add("9", func(v *Version) { v.KeepAuthorised = true })
	add("10", func(v *Version) { v.KnockRestricted = true; v.IntegerLevels = true })
	add("11", func(v *Version) {
		v.LongFields = false
		v.KeepMore = true
		v.SenderCreates = true
		v.RedactsInContent = true
	})
	add("12", func(v *Version) {
		v.StateRes = StateResV21
		v.HashRoomIDs = true
		v.Creators = true
	})
	return all
}
