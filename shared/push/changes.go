package push

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-im/virga/shared/mxerr"
)

// Changes is what a user has changed about the push rules: rules of their own, and
// what was changed of the server's.
type Changes struct {
	// Own are rules of the user's own.
	Own Ruleset `json:"own"`
	// Defaults are the changed default rules by id.
	Defaults map[string]Changed `json:"defaults,omitempty"`
}

// Changed is what the user has changed of a default rule.
type Changed struct {
	Enabled *bool `json:"enabled,omitempty"`
	Actions []any `json:"actions,omitempty"`
	// Silent says that there are no actions.
	Silent bool `json:"silent,omitempty"`
}

// reserved begins the ids of default rules.
const reserved = "."

// master is the one rule that is more important than the user's own.
const master = ".m.rule.master"

// maxRules and maxChanges (in bytes) bound what a user can add. The rules are sent
// to each device at every change, and read for each event that they may be about.
const (
	maxRules   = 1000
	maxChanges = 128 << 10
)

// ParseChanges reads the content of the account data; none is no change.
func ParseChanges(content json.RawMessage) (c Changes, err error) {
	if len(content) > 0 {
		if err = json.Unmarshal(content, &c); err != nil {
			err = fmt.Errorf("decode push rules: %w", err)
		}
	}
	return c, err
}

// encode returns the content of the account data, or M_TOO_LARGE.
func (c Changes) encode() (json.RawMessage, error) {
	n := 0
	for _, kind := range kinds {
		n += len(*c.Own.kind(kind))
	}
	content, err := json.Marshal(c)
	switch {
	case err != nil:
		return nil, fmt.Errorf("encode push rules: %w", err)
	case n > maxRules:
		return nil, mxerr.TooLarge("You may have at most %d push rules of your own.", maxRules)
	case len(content) > maxChanges:
		return nil, mxerr.TooLarge("Your push rules together may have at most %d bytes.", maxChanges)
	}
	return content, nil
}

// kinds are the kinds of rules in the order in which they are tried.
var kinds = []string{"override", "content", "room", "sender", "underride"}

// Rules returns all rules of a user who has made the changes. The user's own come
// before the server's, except for the master rule.
func (c Changes) Rules(userID string) Rulesets {
	rules := DefaultRules(userID)
	for _, kind := range kinds {
		list := rules.Global.kind(kind)
		for i, r := range *list {
			ch, ok := c.Defaults[r.ID]
			if !ok {
				continue
			}
			if ch.Enabled != nil {
				(*list)[i].Enabled = *ch.Enabled
			}
			if ch.Silent || ch.Actions != nil {
				(*list)[i].Actions = append([]any{}, ch.Actions...)
			}
		}
		first := 0
		if len(*list) > 0 && (*list)[0].ID == master {
			first = 1
		}
		*list = slices.Insert(*list, first, *c.Own.kind(kind)...)
	}
	return rules
}

// Render returns the content of m.push_rules as clients see it, given that of the
// user's account data, or none.
func Render(userID string, content json.RawMessage) (json.RawMessage, error) {
	c, err := ParseChanges(content)
	if err != nil {
		return nil, err
	}
	return json.Marshal(c.Rules(userID))
}

// put adds or replaces a rule of the user's own, and moves it next to another one
// if before or after names one.
func (c *Changes) put(kind string, r Rule, before, after string) error {
	list := c.Own.kind(kind)
	was := indexOf(*list, r.ID)
	r.Enabled = was < 0 || (*list)[was].Enabled
	next := slices.Clone(*list)
	anchor, less := before, 0
	if before == "" {
		anchor, less = after, 1
	}
	if was >= 0 && (anchor == "" || anchor == r.ID) {
		next[was] = r
		*list = next
		return nil
	}
	if was >= 0 {
		next = slices.Delete(next, was, was+1)
	}
	at := 0
	if anchor != "" {
		if strings.HasPrefix(anchor, reserved) {
			return mxerr.InvalidParam("%s is a rule of the server; a rule can only be placed next to one of your own.", anchor)
		}
		if at = indexOf(next, anchor); at < 0 {
			return mxerr.Unknown("You have no rule %q of kind %q to place this one next to.", anchor, kind)
		}
		at += less
	}
	*list = slices.Insert(next, at, r)
	return nil
}

// remove deletes a rule of the user's own.
func (c *Changes) remove(kind, id string) error {
	list := c.Own.kind(kind)
	if strings.HasPrefix(id, reserved) {
		if _, ok := DefaultRules("").Global.Find(kind, id); ok {
			return mxerr.InvalidParam("%s is a rule of the server. It cannot be deleted; disable it.", id)
		}
	}
	if list == nil || indexOf(*list, id) < 0 {
		return notFound(kind, id)
	}
	*list = slices.DeleteFunc(slices.Clone(*list), func(r Rule) bool { return r.ID == id })
	return nil
}

// edit changes whether a rule is enabled, or its actions.
func (c *Changes) edit(kind, id string, enabled *bool, actions []any) error {
	if list := c.Own.kind(kind); list != nil {
		if i := indexOf(*list, id); i >= 0 {
			next := slices.Clone(*list)
			if enabled != nil {
				next[i].Enabled = *enabled
			}
			if actions != nil {
				next[i].Actions = actions
			}
			*list = next
			return nil
		}
	}
	if _, ok := DefaultRules("").Global.Find(kind, id); !ok {
		return notFound(kind, id)
	}
	ch := c.Defaults[id]
	if enabled != nil {
		ch.Enabled = enabled
	}
	if actions != nil {
		ch.Actions, ch.Silent = actions, len(actions) == 0
	}
	if c.Defaults == nil {
		c.Defaults = map[string]Changed{}
	}
	c.Defaults[id] = ch
	return nil
}

func indexOf(rules []Rule, id string) int {
	return slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
}

func notFound(kind, id string) error {
	return mxerr.NotFound("You have no push rule %q of kind %q.", id, kind)
}
