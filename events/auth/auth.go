// Package auth holds Matrix's authorisation rules, for every room version.
//
// The rules are pure: they see the event and the state events that it needs,
// as Views, and say nil or the rule that rejected it. The caller first asks
// Reads for the keys, loads them in one batch, and then calls Check.
//
// https://spec.matrix.org/v1.19/server-server-api/#authorisation-rules
package auth

import (
	"fmt"

	"github.com/virga-im/virga/events/roomversion"
)

// Key names a piece of room state.
type Key struct{ Type, StateKey string }

// State is room state as the rules see it. Lookup returns nil for what is not
// set. It must return the create event for Key{"m.room.create", ""} in every room
// version, though auth events do not cite it in version 12.
type State interface {
	Lookup(Key) *View
}

// StateMap is a State in memory.
type StateMap map[Key]*View

// Lookup returns the event at k, or nil.
func (m StateMap) Lookup(k Key) *View { return m[k] }

// Error is a rejection.
type Error struct {
	// Rule is the number of the rule in the room version's specification, "5.3.3".
	Rule string
	// Message is a sentence that a person understands.
	Message string
	// Malformed says that nobody could send the event, whatever the power levels.
	Malformed bool
}

func (e *Error) Error() string { return "auth rule " + e.Rule + ": " + e.Message }

func rejection(v *roomversion.Version, r reason, format string, args ...any) *Error {
	return &Error{Rule: numbersOf(v)[r].String(), Message: fmt.Sprintf(format, args...)}
}

// reject fails an event that others could send.
func (c *checker) reject(r reason, format string, args ...any) error {
	return rejection(c.v, r, format, args...)
}

// malformed fails an event that nobody could send.
func (c *checker) malformed(r reason, format string, args ...any) error {
	e := rejection(c.v, r, format, args...)
	e.Malformed = true
	return e
}

// checker is one Check: the event, the state it is judged by, and what several
// rules need.
type checker struct {
	v      *roomversion.Version
	e      *View
	s      State
	create *View
	levels PowerLevels
}

// Check applies the authorisation rules to an event against a state: its auth
// events, the state before it, or the room's current state. It returns nil when
// the event is allowed, and an *Error otherwise.
//
// The rules about auth_events are in CheckAuthEvents, because they are about
// the citation and not about the state. Signatures are the caller's: Signers
// says whose are needed, among them that of rule "join_authorised_via_users_server".
func Check(v *roomversion.Version, e *View, s State) error {
	c := checker{v: v, e: e, s: s}
	if e.Type == typeCreate {
		return c.checkCreate()
	}
	c.create = s.Lookup(Key{typeCreate, ""})
	if err := c.checkRoom(); err != nil {
		return err
	}
	if err := c.checkFederate(); err != nil {
		return err
	}
	if v.AliasesRule && e.Type == typeAliases {
		return c.checkAliases()
	}
	c.levels = Levels(v, s)
	if e.Type == typeMember {
		return c.checkMember()
	}
	if err := c.checkJoined(); err != nil {
		return err
	}
	if e.Type == typeThirdPartyInvite {
		return c.checkThirdPartyInvite()
	}
	if err := c.checkRequiredLevel(); err != nil {
		return err
	}
	if err := c.checkOwnStateKey(); err != nil {
		return err
	}
	if e.Type == typePowerLevels {
		return c.checkPowerLevels()
	}
	if v.RedactionRule && e.Type == typeRedaction {
		return c.checkRedaction()
	}
	return nil
}

// membership is a user's membership in the state; "leave" when there is none.
func (c *checker) membership(user string) string {
	if m := c.s.Lookup(Key{typeMember, user}); m != nil && m.Content.Membership != "" {
		return m.Content.Membership
	}
	return "leave"
}

// joinRule is the room's join rule: "invite" when there is none, and "", which
// lets nobody in, when it is there and not a string.
func (c *checker) joinRule() string {
	if j := c.s.Lookup(Key{typeJoinRules, ""}); j != nil && j.Content.HasJoinRule {
		return j.Content.JoinRule
	}
	return "invite"
}
