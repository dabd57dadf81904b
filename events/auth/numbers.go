package auth

import (
	"slices"
	"strconv"

	"github.com/virga-im/virga/events/roomversion"
)

// reason is one way of failing the rules, under a name that holds in every room
// version. numbersOf gives it the number that it has in one.
type reason uint8

const (
	createHasPrev reason = iota
	createRoom
	createVersion
	createNoCreator
	createAdditional

	notTheRoom // from version 12 on

	authUnknown // an auth event that nobody has; the rules are silent on it
	authTwice
	authUnneeded
	authRejected
	authNoCreate
	authOtherRoom

	notFederated

	aliasesNoKey
	aliasesOtherServer

	memberMalformed
	memberUnauthorised
	memberUnknown

	joinForOther
	joinBanned
	joinUnauthorised
	joinNotAllowed

	invite3pBanned
	invite3pUnsigned
	invite3pIncomplete
	invite3pOtherUser
	invite3pUnknown
	invite3pOtherSender
	invite3pBadSignature
	inviteNotJoined
	inviteTarget
	inviteLevel

	leaveOwn
	leaveNotJoined
	leaveBanned
	leaveLevel

	banNotJoined
	banLevel

	knockRule
	knockForOther
	knockMembership

	notJoined
	sendInvite3p
	requiredLevel
	ownState

	levelsSingle
	levelsMaps
	levelsUsers
	levelsCreators
	levelsNamedCurrent
	levelsNamedNew
	levelsMapCurrent
	levelsMapNew
	levelsUserCurrent
	levelsUserNew

	redactionLevel

	reasons
)

// number is a rule's number, its parts from the left; 0 is no part.
type number [5]uint8

func (n number) String() string {
	var buf []byte
	for i, part := range n {
		if part == 0 {
			break
		}
		if i > 0 {
			buf = append(buf, '.')
		}
		buf = strconv.AppendUint(buf, uint64(part), 10)
	}
	return string(buf)
}

// numbersOf gives every reason its number in the room version's list of rules,
// or none when the version has no such rule. Rules came and went, so the numbers
// moved; what does not appear here does not depend on the version.
func numbersOf(v *roomversion.Version) (n [reasons]number) {
	set := func(r reason, parts ...uint8) { copy(n[r][:], parts) }

	set(createHasPrev, 1, 1)
	set(createRoom, 1, 2)
	set(createVersion, 1, 3)
	if !v.SenderCreates {
		set(createNoCreator, 1, 4)
	}
	if v.Creators {
		set(createAdditional, 1, 4)
	}

	next := uint8(2)
	section := func() uint8 { next++; return next - 1 }
	if v.HashRoomIDs {
		set(notTheRoom, section())
	}
	s := section()
	set(authUnknown, s)
	set(authTwice, s, 1)
	set(authUnneeded, s, 2)
	set(authRejected, s, 3)
	if !v.HashRoomIDs {
		set(authNoCreate, s, 4)
	}
	set(authOtherRoom, s, 5) // version 12 has no 4, but 5 is still 5
	set(notFederated, section())
	if v.AliasesRule {
		s = section()
		set(aliasesNoKey, s, 1)
		set(aliasesOtherServer, s, 2)
	}
	memberNumbers(v, set, section())
	set(notJoined, section())
	set(sendInvite3p, section(), 1)
	set(requiredLevel, section())
	set(ownState, section())
	levelsNumbers(v, set, section())
	if v.RedactionRule {
		set(redactionLevel, section(), 3)
	}
	return n
}

// memberNumbers are those under the rule for m.room.member, whose number is s.
func memberNumbers(v *roomversion.Version, set func(reason, ...uint8), s uint8) {
	next := uint8(1)
	section := func() uint8 { next++; return next - 1 }
	set(memberMalformed, s, section())
	if v.Restricted {
		set(memberUnauthorised, s, section(), 1)
	}

	join := section()
	set(joinForOther, s, join, 2)
	set(joinBanned, s, join, 3)
	set(joinNotAllowed, s, join, 6)
	if v.Restricted {
		set(joinUnauthorised, s, join, 5, 2)
		set(joinNotAllowed, s, join, 7)
	}

	invite := section()
	for i, r := range []reason{invite3pBanned, invite3pUnsigned, invite3pIncomplete, invite3pOtherUser, invite3pUnknown, invite3pOtherSender} {
		set(r, s, invite, 1, uint8(i+1))
	}
	set(invite3pBadSignature, s, invite, 1, 8)
	set(inviteNotJoined, s, invite, 2)
	set(inviteTarget, s, invite, 3)
	set(inviteLevel, s, invite, 5)

	leave := section()
	set(leaveOwn, s, leave, 1)
	set(leaveNotJoined, s, leave, 2)
	set(leaveBanned, s, leave, 3)
	set(leaveLevel, s, leave, 5)

	ban := section()
	set(banNotJoined, s, ban, 1)
	set(banLevel, s, ban, 3)

	if v.Knock {
		knock := section()
		set(knockRule, s, knock, 1)
		set(knockForOther, s, knock, 2)
		set(knockMembership, s, knock, 4)
	}
	set(memberUnknown, s, section())
}

// levelsNumbers are those under the rule for m.room.power_levels.
func levelsNumbers(v *roomversion.Version, set func(reason, ...uint8), s uint8) {
	next := uint8(1)
	section := func() uint8 { next++; return next - 1 }
	if v.IntegerLevels {
		set(levelsSingle, s, section())
		set(levelsMaps, s, section())
	}
	set(levelsUsers, s, section())
	if v.Creators {
		set(levelsCreators, s, section())
	}
	section() // the first power levels are allowed
	named := section()
	set(levelsNamedCurrent, s, named, 1)
	set(levelsNamedNew, s, named, 2)
	set(levelsMapCurrent, s, section(), 1)
	set(levelsMapNew, s, section(), 1)
	set(levelsUserCurrent, s, section(), 1)
	set(levelsUserNew, s, section(), 1)
}

// Rules lists the numbers that errors of Check and CheckAuthEvents carry in a
// room version, in order: every rule of the specification that rejects. It is
// for those who want to know that none was forgotten.
func Rules(v *roomversion.Version) []string {
	all := numbersOf(v)
	numbers := slices.DeleteFunc(all[:], func(n number) bool { return n == number{} })
	slices.SortFunc(numbers, func(a, b number) int { return slices.Compare(a[:], b[:]) })
	var rules []string
	for _, n := range slices.Compact(numbers) {
		rules = append(rules, n.String())
	}
	return rules
}
