package auth

import (
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/roomversion"
)

// levelNumbers are the numbers of the rules under that for m.room.power_levels.
type levelNumbers struct {
	single, maps, users, creators, first, named, current, next, usersCurrent, usersNext int
}

func levelNumbersOf(v *roomversion.Version) levelNumbers {
	switch {
	case v.Creators:
		return levelNumbers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	case v.IntegerLevels:
		return levelNumbers{1, 2, 3, 0, 4, 5, 6, 7, 8, 9}
	default:
		return levelNumbers{0, 0, 1, 0, 2, 3, 4, 5, 6, 7}
	}
}

// change is an m.room.power_levels event and what it replaces.
type change struct {
	*checker
	n        levelNumbers
	rule     int
	old, new *LevelsContent
	mine     int64
}

// checkPowerLevels is the rule for m.room.power_levels: rule 10, in versions 6
// to 11 rule 9.
func (c *checker) checkPowerLevels() error {
	d := change{
		checker: c, n: levelNumbersOf(c.v), rule: c.n.levels,
		old: c.levels.given(), new: c.e.Content.Levels,
		mine: c.levels.UserLevel(c.e.Sender),
	}
	if d.new == nil {
		d.new = new(LevelsContent)
	}
	for _, check := range []func() error{d.checkSingle, d.checkMaps, d.checkUsers, d.checkCreators} {
		if err := check(); err != nil {
			return err
		}
	}
	if c.levels.content == nil {
		return nil // the first power levels of the room
	}
	for _, check := range []func() error{d.checkNamed, d.checkEvents, d.checkNotifications, d.checkUserChanges} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkSingle is rule 9.1 of version 10 (10.1 of 12): single levels are integers.
func (d *change) checkSingle() error {
	if !d.v.IntegerLevels {
		return nil
	}
	for _, name := range levelNames {
		if l := *d.new.named(name); l.form != absent && l.form != integer {
			return malformed(rule(d.rule, d.n.single), "%s is not an integer", name)
		}
	}
	return nil
}

// checkMaps is rule 9.2 of version 10 (10.2 of 12): events and notifications
// hold integers.
func (d *change) checkMaps() error {
	if !d.v.IntegerLevels {
		return nil
	}
	if d.new.badEvents || d.new.badNotifications {
		return malformed(rule(d.rule, d.n.maps), "events or notifications is not an object")
	}
	for _, levels := range []map[string]Level{d.new.events, d.new.notifications} {
		for key, l := range levels {
			if l.form != integer {
				return malformed(rule(d.rule, d.n.maps), "the level of %q is not an integer", key)
			}
		}
	}
	return nil
}

// checkUsers is the rule that users maps user ids to levels.
func (d *change) checkUsers() error {
	if d.new.badUsers {
		return malformed(rule(d.rule, d.n.users), "users is not an object")
	}
	for user, l := range d.new.users {
		if !id.ValidUser(user) {
			return malformed(rule(d.rule, d.n.users), "users has %q, which is not a user id", user)
		}
		if !l.valid(d.v) {
			return malformed(rule(d.rule, d.n.users), "the level of %s is not an integer", user)
		}
	}
	return nil
}

// checkCreators is rule 10.4 of version 12: creators are not listed.
func (d *change) checkCreators() error {
	if !d.v.Creators {
		return nil
	}
	if _, ok := d.new.users[d.create.Sender]; ok {
		return malformed(rule(d.rule, d.n.creators), "%s created the room and cannot be given a level", d.create.Sender)
	}
	for _, user := range d.create.Content.AdditionalCreators {
		if _, ok := d.new.users[user]; ok {
			return malformed(rule(d.rule, d.n.creators), "%s created the room and cannot be given a level", user)
		}
	}
	return nil
}

// checkNamed is the rule on alterations of the single levels.
func (d *change) checkNamed() error {
	for _, name := range levelNames {
		was, is := d.effective(*d.old.named(name)), *d.new.named(name)
		if is.form != absent && !is.valid(d.v) {
			// Versions before 10 let it stand if nothing else forbids it, but
			// a level that cannot be compared cannot be shown to be low enough.
			return reject(rule(d.rule, d.n.named, 2), "%s is not a number", name)
		}
		if same(was, is) {
			continue
		}
		if was.form != absent && was.value > d.mine {
			return reject(rule(d.rule, d.n.named, 1), "%s is above the power level of %s", name, d.e.Sender)
		}
		if is.form != absent && is.value > d.mine {
			return reject(rule(d.rule, d.n.named, 2), "%s would be above the power level of %s", name, d.e.Sender)
		}
	}
	return nil
}

// checkEvents is the pair of rules on alterations of events.
func (d *change) checkEvents() error {
	return d.checkMap(d.old.events, d.new.events, d.new.badEvents)
}

// checkNotifications is the same for notifications, since version 6.
func (d *change) checkNotifications() error {
	if !d.v.NotificationLevels {
		return nil
	}
	return d.checkMap(d.old.notifications, d.new.notifications, d.new.badNotifications)
}

func (d *change) checkMap(old, new map[string]Level, bad bool) error {
	if bad {
		return reject(rule(d.rule, d.n.next, 1), "events or notifications is not an object")
	}
	for key, was := range old {
		was = d.effective(was)
		if is := new[key]; !same(was, is) && was.form != absent && was.value > d.mine {
			return reject(rule(d.rule, d.n.current, 1), "the level of %q is above that of %s", key, d.e.Sender)
		}
	}
	for key, is := range new {
		if !is.valid(d.v) {
			return reject(rule(d.rule, d.n.next, 1), "the level of %q is not a number", key)
		}
		if !same(d.effective(old[key]), is) && is.value > d.mine {
			return reject(rule(d.rule, d.n.next, 1), "the level of %q would be above that of %s", key, d.e.Sender)
		}
	}
	return nil
}

// checkUserChanges is the pair of rules on alterations of users.
func (d *change) checkUserChanges() error {
	for user, was := range d.old.users {
		was = d.effective(was)
		if user == d.e.Sender || was.form == absent || same(was, d.new.users[user]) {
			continue
		}
		if was.value >= d.mine {
			return reject(rule(d.rule, d.n.usersCurrent, 1), "the level of %s is not below that of %s", user, d.e.Sender)
		}
	}
	for user, is := range d.new.users {
		if !same(d.effective(d.old.users[user]), is) && is.value > d.mine {
			return reject(rule(d.rule, d.n.usersNext, 1), "the level of %s would be above that of %s", user, d.e.Sender)
		}
	}
	return nil
}

// effective drops a current level that the room version does not recognise: it
// has no effect, so changing it takes nothing away.
func (d *change) effective(l Level) Level {
	if !l.valid(d.v) {
		return Level{}
	}
	return l
}

// same reports whether two levels are equal, however they are written.
func same(a, b Level) bool {
	return (a.form == absent) == (b.form == absent) && a.value == b.value
}
