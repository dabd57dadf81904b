package auth

import "github.com/virga-im/virga/events/id"

// checkMember is the rule for m.room.member.
func (c *checker) checkMember() error {
	e, content := c.e, &c.e.Content
	if !e.State || content.Membership == "" {
		return c.malformed(memberMalformed, "a membership event needs a state key and a membership")
	}
	if !id.ValidUser(e.StateKey) {
		return c.malformed(memberMalformed, "the state key is not a user id")
	}
	if err := c.checkAuthorised(); err != nil {
		return err
	}
	switch content.Membership {
	case "join":
		return c.checkJoin()
	case "invite":
		return c.checkInvite()
	case "leave":
		return c.checkLeave()
	case "ban":
		return c.checkBan()
	case "knock":
		if c.v.Knock {
			return c.checkKnock()
		}
	}
	return c.malformed(memberUnknown, "the membership is not known")
}

// checkAuthorised is rule 4.2 (5.2 in version 12): the server of
// join_authorised_via_users_server has to sign a join. The signature itself is
// the caller's to verify (Signers); here the key must at least name a server.
func (c *checker) checkAuthorised() error {
	content := &c.e.Content
	if c.v.Restricted && content.HasAuthorised && content.Membership == "join" && !id.ValidUser(content.Authorised) {
		return c.malformed(memberUnauthorised, "join_authorised_via_users_server is not a user id")
	}
	return nil
}

// checkJoin is the rule for membership join.
func (c *checker) checkJoin() error {
	e := c.e
	if e.PrevEvents == 1 && e.OnlyPrev == c.create.ID && e.StateKey == creatorOf(c.v, c.create) {
		return nil // rule 1, which does not ask who sent it
	}
	if e.Sender != e.StateKey {
		return c.reject(joinForOther, "nobody can join for someone else")
	}
	current := c.membership(e.Sender)
	if current == "ban" {
		return c.reject(joinBanned, "the user is banned from the room")
	}
	switch joinRule := c.joinRule(); {
	case joinRule == "public":
		return nil
	case joinRule == "invite", joinRule == "knock" && c.v.Knock:
		if current == "invite" || current == "join" {
			return nil
		}
		return c.reject(joinNotAllowed, "the room can only be joined with an invite")
	case joinRule == "restricted" && c.v.Restricted, joinRule == "knock_restricted" && c.v.KnockRestricted:
		if current == "invite" || current == "join" {
			return nil
		}
		return c.checkRestrictedJoin()
	}
	return c.reject(joinNotAllowed, "the room's join rule lets nobody join")
}

// checkRestrictedJoin is rule 4.3.5.2 (5.3.5.2 in version 12).
func (c *checker) checkRestrictedJoin() error {
	user := c.e.Content.Authorised
	switch {
	case user == "":
		return c.reject(joinUnauthorised, "the room can only be joined with an invite or by members of certain rooms")
	case c.membership(user) != "join":
		return c.reject(joinUnauthorised, "the user who authorised the join is not in the room")
	case c.levels.UserLevel(user) < c.levels.Invite():
		return c.reject(joinUnauthorised, "the user who authorised the join may not invite")
	}
	return nil
}

// checkInvite is the rule for membership invite.
func (c *checker) checkInvite() error {
	e := c.e
	target := c.membership(e.StateKey)
	if e.Content.HasThirdParty {
		return c.checkThirdPartyAccepted(target)
	}
	if c.membership(e.Sender) != "join" {
		return c.reject(inviteNotJoined, "only members of the room can invite")
	}
	if target == "join" || target == "ban" {
		return c.reject(inviteTarget, "the user is already in the room or banned from it")
	}
	if c.levels.UserLevel(e.Sender) < c.levels.Invite() {
		return c.reject(inviteLevel, "the power level is not enough to invite")
	}
	return nil
}

// checkThirdPartyAccepted is the rule for invites that stem from
// m.room.third_party_invite.
func (c *checker) checkThirdPartyAccepted(target string) error {
	signed := c.e.Content.ThirdPartySigned
	switch {
	case target == "ban":
		return c.reject(invite3pBanned, "the user is banned from the room")
	case signed == nil:
		return c.reject(invite3pUnsigned, "the third-party invite is not signed")
	case !signed.Complete:
		return c.reject(invite3pIncomplete, "the third-party invite names no user or token")
	case signed.MXID != c.e.StateKey:
		return c.reject(invite3pOtherUser, "the third-party invite is for someone else")
	}
	invite := c.s.Lookup(Key{typeThirdPartyInvite, signed.Token})
	switch {
	case invite == nil:
		return c.reject(invite3pUnknown, "there is no such third-party invite in the room")
	case invite.Sender != c.e.Sender:
		return c.reject(invite3pOtherSender, "the third-party invite was sent by someone else")
	case !signed.signedByAny(invite.Content.PublicKeys):
		return c.reject(invite3pBadSignature, "no signature matches the third-party invite")
	}
	return nil
}

// checkLeave is the rule for membership leave: leaving, declining, kicking and
// unbanning.
func (c *checker) checkLeave() error {
	e := c.e
	target := c.membership(e.StateKey)
	if e.Sender == e.StateKey {
		if target == "join" || target == "invite" || target == "knock" && c.v.Knock {
			return nil
		}
		return c.reject(leaveOwn, "the user is not in the room")
	}
	if c.membership(e.Sender) != "join" {
		return c.reject(leaveNotJoined, "only members of the room can remove others")
	}
	sender := c.levels.UserLevel(e.Sender)
	if target == "ban" && sender < c.levels.Ban() {
		return c.reject(leaveBanned, "the power level is not enough to lift a ban")
	}
	if sender < c.levels.Kick() || !c.levels.below(e.StateKey, sender) {
		return c.reject(leaveLevel, "the power level is not enough to remove this user")
	}
	return nil
}

// checkBan is the rule for membership ban.
func (c *checker) checkBan() error {
	e := c.e
	if c.membership(e.Sender) != "join" {
		return c.reject(banNotJoined, "only members of the room can ban")
	}
	sender := c.levels.UserLevel(e.Sender)
	if sender < c.levels.Ban() || !c.levels.below(e.StateKey, sender) {
		return c.reject(banLevel, "the power level is not enough to ban this user")
	}
	return nil
}

// checkKnock is the rule for membership knock.
func (c *checker) checkKnock() error {
	e := c.e
	if rule := c.joinRule(); rule != "knock" && (rule != "knock_restricted" || !c.v.KnockRestricted) {
		return c.reject(knockRule, "the room does not take knocks")
	}
	if e.Sender != e.StateKey {
		return c.reject(knockForOther, "nobody can knock for someone else")
	}
	switch c.membership(e.Sender) {
	case "ban", "invite", "join":
		return c.reject(knockMembership, "the user is already invited, in the room, or banned from it")
	}
	return nil
}
