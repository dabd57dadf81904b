package auth

import (
	"github.com/virga-im/virga/events/id"
)

// change is an m.room.power_levels event and what it replaces.
type change struct {
	*checker
	old, new *LevelsContent
	mine     int64
}

// checkPowerLevels is the rule for m.room.power_levels: rule 10, in versions 6
// to 11 rule 9.
func (c *checker) checkPowerLevels() error {
	d := change{
		checker: c,
		old:     c.levels.given(), new: c.e.Content.Levels,
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
			return d.malformed(levelsSingle, "%s is not an integer", name)
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
		return d.malformed(levelsMaps, "events or notifications is not an object")
	}
	for _, levels := range []map[string]Level{d.new.events, d.new.notifications} {
		for key, l := range levels {
			if l.form != integer {
				return d.malformed(levelsMaps, "the level of %q is not an integer", key)
			}
		}
	}
	return nil
}

// checkUsers is the rule that users maps user ids to levels.
func (d *change) checkUsers() error {
	if d.new.badUsers {
		return d.malformed(levelsUsers, "users is not an object")
	}
	for user, l := range d.new.users {
		if !id.ValidUser(user) {
			return d.malformed(levelsUsers, "users has %q, which is not a user id", user)
		}
		if !l.valid(d.v) {
			return d.malformed(levelsUsers, "the level of %s is not an integer", user)
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
		return d.malformed(levelsCreators, "%s created the room and cannot be given a level", d.create.Sender)
	}
	for _, user := range d.create.Content.AdditionalCreators {
		if _, ok := d.new.users[user]; ok {
			return d.malformed(levelsCreators, "%s created the room and cannot be given a level", user)
		}
	}
	return nil
}

// checkNamed is the rule on alterations of the single levels. A level that was
// absent, or is removed, is not compared, as in Synapse; ruma and Dendrite compare
// its default, which the rule does not mention.
//
// Rooms up to version 9 may hold levels that are not numbers. What cannot be
// compared cannot be shown to be low enough, and deployed servers fail on it.
func (d *change) checkNamed() error {
	for _, name := range levelNames {
		was, is := *d.old.named(name), *d.new.named(name)
		if was.form != absent && !was.valid(d.v) {
			return d.reject(levelsNamedCurrent, "%s is not a number, and cannot be shown to be within the power level of %s", name, d.e.Sender)
		}
		if is.form != absent && !is.valid(d.v) {
			return d.reject(levelsNamedNew, "%s is not a number", name)
		}
		if same(was, is) {
			continue
		}
		if was.form != absent && was.value > d.mine {
			return d.reject(levelsNamedCurrent, "%s is above the power level of %s", name, d.e.Sender)
		}
		if is.form != absent && is.value > d.mine {
			return d.reject(levelsNamedNew, "%s would be above the power level of %s", name, d.e.Sender)
		}
	}
	return nil
}

// checkEvents is the pair of rules on alterations of events.
func (d *change) checkEvents() error {
	return d.checkMap(d.old.events, d.new.events, d.old.badEvents, d.new.badEvents)
}

// checkNotifications is the same for notifications, since version 6.
func (d *change) checkNotifications() error {
	if !d.v.NotificationLevels {
		return nil
	}
	return d.checkMap(d.old.notifications, d.new.notifications, d.old.badNotifications, d.new.badNotifications)
}

func (d *change) checkMap(old, new map[string]Level, badOld, badNew bool) error {
	if badOld {
		return d.reject(levelsMapCurrent, "events or notifications was not an object")
	}
	if badNew {
		return d.reject(levelsMapNew, "events or notifications is not an object")
	}
	for key, was := range old {
		if !was.valid(d.v) {
			return d.reject(levelsMapCurrent, "the level of %q is not a number", key)
		}
		if !same(was, new[key]) && was.value > d.mine {
			return d.reject(levelsMapCurrent, "the level of %q is above that of %s", key, d.e.Sender)
		}
	}
	for key, is := range new {
		if !is.valid(d.v) {
			return d.reject(levelsMapNew, "the level of %q is not a number", key)
		}
		if !same(old[key], is) && is.value > d.mine {
			return d.reject(levelsMapNew, "the level of %q would be above that of %s", key, d.e.Sender)
		}
	}
	return nil
}

// checkUserChanges is the pair of rules on alterations of users.
func (d *change) checkUserChanges() error {
	for user, was := range d.old.users {
		if user == d.e.Sender || same(was, d.new.users[user]) {
			continue
		}
		if !was.valid(d.v) || was.value >= d.mine {
			return d.reject(levelsUserCurrent, "the level of %s is not below that of %s", user, d.e.Sender)
		}
	}
	for user, is := range d.new.users {
		if !same(d.old.users[user], is) && is.value > d.mine {
			return d.reject(levelsUserNew, "the level of %s would be above that of %s", user, d.e.Sender)
		}
	}
	return nil
}

// same reports whether two levels are equal, however they are written.
func same(a, b Level) bool {
	return (a.form == absent) == (b.form == absent) && a.value == b.value
}
