package auth

import (
	"strings"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/roomversion"
)

// checkCreate is rule 1: If type is m.room.create.
func (c *checker) checkCreate() error {
	e, content := c.e, &c.e.Content
	switch {
	case e.PrevEvents > 0:
		return c.malformed(createHasPrev, "a create event has no previous events")
	case c.v.HashRoomIDs && e.Room != id.RoomOfCreate(e.ID): // both are empty before the event is built
		return c.malformed(createRoom, "a create event has no room id of its own")
	case !c.v.HashRoomIDs && id.Server(e.Room) != id.Server(e.Sender):
		return c.malformed(createRoom, "the room id belongs to another server than the creator")
	}
	if content.HasRoomVersion {
		if _, ok := roomversion.Get(content.RoomVersion); !ok {
			return c.malformed(createVersion, "room version %q is not known", content.RoomVersion)
		}
	}
	if !c.v.SenderCreates && !content.HasCreator {
		return c.malformed(createNoCreator, "the create event has no creator")
	}
	if c.v.Creators {
		return c.checkAdditionalCreators()
	}
	return nil
}

// checkAdditionalCreators is rule 1.4 of room version 12.
func (c *checker) checkAdditionalCreators() error {
	if c.e.Content.BadCreators {
		return c.malformed(createAdditional, "additional_creators is not a list of user ids")
	}
	for _, user := range c.e.Content.AdditionalCreators {
		if !id.ValidUser(user) {
			return c.malformed(createAdditional, "additional_creators has %q, which is not a user id", user)
		}
	}
	return nil
}

// checkRoom is rule 2 of room version 12, that the room id is that of an
// accepted create event, and the part of rule 2.4 before it that concerns the
// state: there is a create event.
func (c *checker) checkRoom() error {
	if !c.v.HashRoomIDs {
		if c.create == nil {
			return c.reject(authNoCreate, "the room has no create event")
		}
		return nil
	}
	if c.create == nil || c.create.Rejected || id.RoomOfCreate(c.create.ID) != c.e.Room {
		return c.reject(notTheRoom, "the room id is not that of an accepted create event")
	}
	return nil
}

// checkFederate is the rule on m.federate: rule 3, in version 12 rule 4. Only
// false closes the room. Synapse takes every value but true for false, ruma every
// event after a value that is no boolean for forbidden; the rule says false.
func (c *checker) checkFederate() error {
	if c.create.Content.Unfederated && id.Server(c.e.Sender) != id.Server(c.create.Sender) {
		return c.reject(notFederated, "the room does not federate")
	}
	return nil
}

// checkAliases is rule 4 of room versions 1 to 5: a server speaks for its own
// aliases, member or not.
func (c *checker) checkAliases() error {
	if !c.e.State {
		return c.reject(aliasesNoKey, "an aliases event needs a state key")
	}
	if id.Server(c.e.Sender) != c.e.StateKey {
		return c.reject(aliasesOtherServer, "a server can only publish its own aliases")
	}
	return nil
}

// checkJoined is the rule that only members send events.
func (c *checker) checkJoined() error {
	if c.membership(c.e.Sender) != "join" {
		return c.reject(notJoined, "%s is not in the room", c.e.Sender)
	}
	return nil
}

// checkThirdPartyInvite is the rule for m.room.third_party_invite.
func (c *checker) checkThirdPartyInvite() error {
	if have, need := c.levels.UserLevel(c.e.Sender), c.levels.Invite(); have < need {
		return c.reject(sendInvite3p, "inviting needs power level %d, %s has %d", need, c.e.Sender, have)
	}
	return nil
}

// checkRequiredLevel is the rule on the event type's required power level.
func (c *checker) checkRequiredLevel() error {
	have, need := c.levels.UserLevel(c.e.Sender), c.levels.EventLevel(c.e.Type, c.e.State)
	if need > have {
		return c.reject(requiredLevel, "%s needs power level %d, %s has %d", c.e.Type, need, c.e.Sender, have)
	}
	return nil
}

// checkOwnStateKey is the rule on state keys that name a user.
func (c *checker) checkOwnStateKey() error {
	if c.e.State && strings.HasPrefix(c.e.StateKey, "@") && c.e.StateKey != c.e.Sender {
		return c.reject(ownState, "this state belongs to %s", c.e.StateKey)
	}
	return nil
}

// checkRedaction is rule 11 of room versions 1 and 2. Later versions decide
// when the redaction is applied: see MayRedact.
func (c *checker) checkRedaction() error {
	if c.levels.UserLevel(c.e.Sender) >= c.levels.Redact() {
		return nil
	}
	if s := id.Server(c.e.Redacts); s != "" && s == id.Server(c.e.ID) {
		return nil
	}
	return c.reject(redactionLevel, "redacting needs power level %d", c.levels.Redact())
}

// MayRedact reports whether a redaction by redactor takes effect on an event of
// sender: by the redact level, or because both are of the same server. It is for
// room version 3 and later; versions 1 and 2 decide in Check.
//
// https://spec.matrix.org/v1.19/rooms/v12/#handling-redactions
func (p PowerLevels) MayRedact(redactor, sender string) bool {
	return p.UserLevel(redactor) >= p.Redact() || id.Server(redactor) == id.Server(sender)
}
