package push

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// errKeep ends a change that changes nothing.
var errKeep = errors.New("nothing to change")

// Inherit copies the rules that the user has made about a room to another one, which
// replaces it. What the user has decided about the other already stays.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
func (s *Service) Inherit(ctx context.Context, user, from, to string) error {
	err := s.change(ctx, user, func(c *Changes) error {
		changed := false
		for _, kind := range kinds {
			list := c.Own.kind(kind)
			for _, r := range slices.Clone(*list) {
				next, ok := r.moved(kind, from, to)
				if ok && indexOf(*list, next.ID) < 0 {
					*list = append(slices.Clone(*list), next)
					changed = true
				}
			}
		}
		if !changed {
			return errKeep
		}
		return nil
	})
	if errors.Is(err, errKeep) {
		return nil
	}
	return err
}

// moved is the rule about another room, if it is about the first.
func (r Rule) moved(kind, from, to string) (Rule, bool) {
	next := r
	next.ID = strings.ReplaceAll(r.ID, from, to)
	if kind == "room" {
		return next, next.ID != r.ID
	}
	if r.Conditions == nil {
		return r, false
	}
	about := false
	conditions := slices.Clone(*r.Conditions)
	for i, c := range conditions {
		if c.Kind == "event_match" && c.Key == "room_id" && c.Pattern != nil && *c.Pattern == from {
			about = true
			raw, err := json.Marshal(map[string]string{"kind": c.Kind, "key": c.Key, "pattern": to})
			if err != nil {
				return r, false
			}
			conditions[i].Pattern, conditions[i].raw = &to, raw
		}
	}
	next.Conditions = &conditions
	if next.ID == r.ID {
		next.ID += " " + to // two rules need two names
	}
	return next, about
}
