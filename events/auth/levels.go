package auth

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/roomversion"
)

// Infinite is the power level of the creators of a version 12 room.
const Infinite = math.MaxInt64

// form is how a level is written.
type form uint8

const (
	absent form = iota
	null        // present, but deployed servers go by the default
	integer
	quoted // a string that is an integer
	float
	invalid
)

// Level is one power level as an event gives it.
type Level struct {
	value int64
	form  form
}

// readLevel reads the ways in which levels have been written over the years.
// Values beyond int64 are cut off at its limits.
func readLevel(value []byte) Level {
	if len(value) == 0 {
		return Level{form: invalid}
	}
	switch c := value[0]; {
	case c == 'n':
		return Level{form: null}
	case c == '"':
		s, _ := canonicaljson.String(value)
		s = strings.TrimSpace(s)
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil && n != math.MaxInt64 && n != math.MinInt64 {
			return Level{form: invalid}
		}
		return Level{n, quoted}
	case c == '-', c >= '0' && c <= '9':
		if bytes.ContainsAny(value, ".eE") {
			f, err := strconv.ParseFloat(string(value), 64)
			if err != nil {
				return Level{form: invalid}
			}
			return Level{truncate(f), float}
		}
		n, _ := strconv.ParseInt(string(value), 10, 64)
		return Level{n, integer}
	}
	return Level{form: invalid}
}

func truncate(f float64) int64 {
	switch {
	case f >= math.MaxInt64:
		return math.MaxInt64
	case f <= math.MinInt64:
		return math.MinInt64
	}
	return int64(f)
}

// given reports whether there is a level at all.
func (l Level) given() bool { return l.form != absent && l.form != null }

// valid reports whether the room version takes the level for one.
func (l Level) valid(v *roomversion.Version) bool {
	switch l.form {
	case integer:
		return true
	case quoted:
		return !v.IntegerLevels
	case float:
		return v.FloatLevels
	}
	return false
}

// LevelsContent is the content of m.room.power_levels.
type LevelsContent struct {
	ban, kick, redact, invite                 Level
	usersDefault, eventsDefault, stateDefault Level

	users, events, notifications          map[string]Level
	badUsers, badEvents, badNotifications bool // there and not an object
}

func (c *LevelsContent) field(key string, value []byte) bool {
	switch key {
	case "users":
		c.users, c.badUsers = readLevels(value)
	case "events":
		c.events, c.badEvents = readLevels(value)
	case "notifications":
		c.notifications, c.badNotifications = readLevels(value)
	default:
		l := c.named(key)
		if l == nil {
			return false
		}
		*l = readLevel(value)
	}
	return true
}

// levelNames are the single levels, in the order of the rules.
var levelNames = [...]string{"users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"}

func (c *LevelsContent) named(key string) *Level {
	switch key {
	case "users_default":
		return &c.usersDefault
	case "events_default":
		return &c.eventsDefault
	case "state_default":
		return &c.stateDefault
	case "ban":
		return &c.ban
	case "redact":
		return &c.redact
	case "kick":
		return &c.kick
	case "invite":
		return &c.invite
	}
	return nil
}

func readLevels(value []byte) (levels map[string]Level, bad bool) {
	if !canonicaljson.IsObject(value) {
		return nil, true
	}
	levels = make(map[string]Level)
	for key, value := range canonicaljson.Fields(value) {
		levels[key] = readLevel(value)
	}
	return levels, false
}

// PowerLevels answers who may do what in a room, defaults and creators
// included. Values come from Levels and LevelsOf.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
type PowerLevels struct {
	v        *roomversion.Version
	content  *LevelsContent // nil when there is no m.room.power_levels
	creator  string
	creators []string // additional creators
}

// Levels reads the power levels of a state: its m.room.create and
// m.room.power_levels.
func Levels(v *roomversion.Version, s State) PowerLevels {
	return LevelsOf(v, s.Lookup(Key{typeCreate, ""}), s.Lookup(Key{typePowerLevels, ""}))
}

// LevelsOf reads the power levels that a create event and a power levels event
// give; either may be nil.
func LevelsOf(v *roomversion.Version, create, levels *View) PowerLevels {
	p := PowerLevels{v: v}
	if levels != nil {
		if p.content = levels.Content.Levels; p.content == nil {
			p.content = new(LevelsContent)
		}
	}
	if create != nil {
		p.creator = creatorOf(v, create)
		if v.Creators {
			p.creators = create.Content.AdditionalCreators
		}
	}
	return p
}

func creatorOf(v *roomversion.Version, create *View) string {
	if v.SenderCreates {
		return create.Sender
	}
	return create.Content.Creator
}

// IsCreator reports whether a user created the room: its creator, or from room
// version 12 on one of the additional creators.
func (p PowerLevels) IsCreator(user string) bool {
	return user != "" && (user == p.creator || slices.Contains(p.creators, user))
}

// UserLevel is a user's power level: Infinite for creators from room version 12
// on, and 100 for the creator of an older room that has no power levels yet.
//
// The power levels of rooms up to version 9 may hold values that cannot be read.
// Deployed servers fail on them and reject what depends on them; so here a level
// that somebody has is then below all others, and one that is needed Infinite.
func (p PowerLevels) UserLevel(user string) int64 {
	level, _ := p.user(user)
	return level
}

// user also reports whether the level can be read.
func (p PowerLevels) user(user string) (level int64, ok bool) {
	if p.v != nil && p.v.Creators && p.IsCreator(user) {
		return Infinite, true
	}
	if p.content == nil {
		if user != "" && user == p.creator {
			return 100, true
		}
		return 0, true
	}
	l := p.content.users[user]
	if !l.given() {
		l = p.content.usersDefault
	}
	switch {
	case !l.given():
		return 0, true
	case !l.valid(p.v):
		return math.MinInt64, false
	}
	return l.value, true
}

// below reports whether a user's level is known to be lower than level.
func (p PowerLevels) below(user string, level int64) bool {
	theirs, ok := p.user(user)
	return ok && theirs < level
}

// EventLevel is the power level that sending an event of this type needs.
// Membership events are not governed by it.
func (p PowerLevels) EventLevel(typ string, isState bool) int64 {
	content := p.given()
	if content.badEvents {
		return Infinite
	}
	if l := content.events[typ]; l.given() {
		return p.or(l, Infinite)
	}
	if isState {
		return p.StateDefault()
	}
	return p.EventsDefault()
}

// UsersDefault is the level of users that are not listed and are no creators.
func (p PowerLevels) UsersDefault() int64 {
	if p.content == nil {
		return 0
	}
	level, _ := PowerLevels{v: p.v, content: &LevelsContent{usersDefault: p.content.usersDefault}}.user("")
	return level
}

// EventsDefault is the level for message events that are not listed.
func (p PowerLevels) EventsDefault() int64 { return p.or(p.given().eventsDefault, 0) }

// StateDefault is the level for state events that are not listed.
func (p PowerLevels) StateDefault() int64 { return p.or(p.given().stateDefault, 50) }

// Ban is the level to ban users.
func (p PowerLevels) Ban() int64 { return p.or(p.given().ban, 50) }

// Kick is the level to remove users.
func (p PowerLevels) Kick() int64 { return p.or(p.given().kick, 50) }

// Redact is the level to redact other users' events.
func (p PowerLevels) Redact() int64 { return p.or(p.given().redact, 50) }

// Invite is the level to invite users.
func (p PowerLevels) Invite() int64 { return p.or(p.given().invite, 0) }

// Notification is the level to trigger a kind of notification, such as "room".
func (p PowerLevels) Notification(key string) int64 {
	return p.or(p.given().notifications[key], 50)
}

// Notifications are the levels to trigger kinds of notifications; any other is 50.
func (p PowerLevels) Notifications() map[string]int64 {
	levels := map[string]int64{}
	for key := range p.given().notifications {
		levels[key] = p.Notification(key)
	}
	return levels
}

// CanSend reports whether a user's level is enough for this type of event. It
// says nothing about membership.
func (p PowerLevels) CanSend(user, typ string, isState bool) bool {
	return p.UserLevel(user) >= p.EventLevel(typ, isState)
}

// given is what the room's m.room.power_levels says, if there is one.
func (p PowerLevels) given() *LevelsContent {
	if p.content == nil {
		return &LevelsContent{}
	}
	return p.content
}

// or is a needed level, or otherwise if none is given.
func (p PowerLevels) or(l Level, otherwise int64) int64 {
	switch {
	case !l.given():
		return otherwise
	case !l.valid(p.v):
		return Infinite
	}
	return l.value
}
