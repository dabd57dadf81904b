package auth

import "github.com/virga-im/virga/events/id"

// The sub-rules of the rule for m.room.member (5 in versions 1 to 5 and in 12,
// 4 in between) moved when join_authorised_via_users_server came in as number 2.
func (c *checker) sub(n int) int {
	if c.v.Restricted {
		return n + 1
	}
	return n
}

// fail rejects under the rule for m.room.member.
func (c *checker) fail(message string, parts ...int) error {
	return reject(rule(append([]int{c.n.member}, parts...)...), "%s", message)
}

// checkMember is the rule for m.room.member.
func (c *checker) checkMember() error {
	e, content := c.e, &c.e.Content
	if !e.State || content.Membership == "" {
		return malformed(rule(c.n.member, 1), "a membership event needs a state key and a membership")
	}
	if !id.ValidUser(e.StateKey) {
		return malformed(rule(c.n.member, 1), "the state key is not a user id")
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
	last := 6
	if c.v.Knock {
		last = 7
	}
	return malformed(rule(c.n.member, c.sub(last)), "the membership is not known")
}

// checkAuthorised is rule 4.2 (5.2 in version 12): the server of
// join_authorised_via_users_server has to sign. The signature itself is the
// caller's to verify (Signers); here the key must at least name a server.
func (c *checker) checkAuthorised() error {
	if c.v.Restricted && c.e.Content.HasAuthorised && !id.ValidUser(c.e.Content.Authorised) {
		return malformed(rule(c.n.member, 2, 1), "join_authorised_via_users_server is not a user id")
	}
	return nil
}

// checkJoin is the rule for membership join.
func (c *checker) checkJoin() error {
	e, n := c.e, c.sub(2)
	if e.PrevEvents == 1 && e.OnlyPrev == c.create.ID && e.StateKey == creatorOf(c.v, c.create) {
		return nil // n.1
	}
	if e.Sender != e.StateKey {
		return c.fail("nobody can join for someone else", n, 2)
	}
	current := c.membership(e.Sender)
	if current == "ban" {
		return c.fail("the user is banned from the room", n, 3)
	}
	last := 6
	if c.v.Restricted {
		last = 7
	}
	switch joinRule := c.joinRule(); {
	case joinRule == "public":
		return nil
	case joinRule == "invite", joinRule == "knock" && c.v.Knock:
		if current == "invite" || current == "join" {
			return nil // n.4
		}
		return c.fail("the room can only be joined with an invite", n, last)
	case joinRule == "restricted" && c.v.Restricted, joinRule == "knock_restricted" && c.v.KnockRestricted:
		if current == "invite" || current == "join" {
			return nil // n.5.1
		}
		return c.checkRestrictedJoin(n)
	}
	return c.fail("the room's join rule lets nobody join", n, last)
}

// checkRestrictedJoin is rule 4.3.5.2 (5.3.5.2 in version 12).
func (c *checker) checkRestrictedJoin(n int) error {
	user := c.e.Content.Authorised
	switch {
	case user == "":
		return c.fail("the room can only be joined with an invite or by members of certain rooms", n, 5, 2)
	case c.membership(user) != "join":
		return c.fail("the user who authorised the join is not in the room", n, 5, 2)
	case c.levels.UserLevel(user) < c.levels.Invite():
		return c.fail("the user who authorised the join may not invite", n, 5, 2)
	}
	return nil
}

// checkInvite is the rule for membership invite.
func (c *checker) checkInvite() error {
	e, n := c.e, c.sub(3)
	target := c.membership(e.StateKey)
	if e.Content.HasThirdParty {
		return c.checkThirdPartyAccepted(n, target)
	}
	if c.membership(e.Sender) != "join" {
		return c.fail("only members of the room can invite", n, 2)
	}
	if target == "join" || target == "ban" {
		return c.fail("the user is already in the room or banned from it", n, 3)
	}
	if c.levels.UserLevel(e.Sender) < c.levels.Invite() {
		return c.fail("the power level is not enough to invite", n, 5)
	}
	return nil
}

// checkThirdPartyAccepted is the rule for invites that stem from
// m.room.third_party_invite.
func (c *checker) checkThirdPartyAccepted(n int, target string) error {
	signed := c.e.Content.ThirdPartySigned
	switch {
	case target == "ban":
		return c.fail("the user is banned from the room", n, 1, 1)
	case signed == nil:
		return c.fail("the third-party invite is not signed", n, 1, 2)
	case !signed.Complete:
		return c.fail("the third-party invite names no user or token", n, 1, 3)
	case signed.MXID != c.e.StateKey:
		return c.fail("the third-party invite is for someone else", n, 1, 4)
	}
	invite := c.s.Lookup(Key{typeThirdPartyInvite, signed.Token})
	switch {
	case invite == nil:
		return c.fail("there is no such third-party invite in the room", n, 1, 5)
	case invite.Sender != c.e.Sender:
		return c.fail("the third-party invite was sent by someone else", n, 1, 6)
	case !signed.signedByAny(invite.Content.PublicKeys):
		return c.fail("no signature matches the third-party invite", n, 1, 8)
	}
	return nil // n.1.7
}

// checkLeave is the rule for membership leave: leaving, declining, kicking and
// unbanning.
func (c *checker) checkLeave() error {
	e, n := c.e, c.sub(4)
	target := c.membership(e.StateKey)
	if e.Sender == e.StateKey {
		if target == "join" || target == "invite" || target == "knock" && c.v.Knock {
			return nil
		}
		return c.fail("the user is not in the room", n, 1)
	}
	if c.membership(e.Sender) != "join" {
		return c.fail("only members of the room can remove others", n, 2)
	}
	sender := c.levels.UserLevel(e.Sender)
	if target == "ban" && sender < c.levels.Ban() {
		return c.fail("the power level is not enough to lift a ban", n, 3)
	}
	if sender < c.levels.Kick() || c.levels.UserLevel(e.StateKey) >= sender {
		return c.fail("the power level is not enough to remove this user", n, 5)
	}
	return nil // n.4
}

// checkBan is the rule for membership ban.
func (c *checker) checkBan() error {
	e, n := c.e, c.sub(5)
	if c.membership(e.Sender) != "join" {
		return c.fail("only members of the room can ban", n, 1)
	}
	sender := c.levels.UserLevel(e.Sender)
	if sender < c.levels.Ban() || c.levels.UserLevel(e.StateKey) >= sender {
		return c.fail("the power level is not enough to ban this user", n, 3)
	}
	return nil // n.2
}

// checkKnock is the rule for membership knock.
func (c *checker) checkKnock() error {
	e, n := c.e, c.sub(6)
	if rule := c.joinRule(); rule != "knock" && (rule != "knock_restricted" || !c.v.KnockRestricted) {
		return c.fail("the room does not take knocks", n, 1)
	}
	if e.Sender != e.StateKey {
		return c.fail("nobody can knock for someone else", n, 2)
	}
	switch c.membership(e.Sender) {
	case "ban", "invite", "join":
		return c.fail("the user is already invited, in the room, or banned from it", n, 4)
	}
	return nil // n.3
}
