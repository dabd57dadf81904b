package model

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
)

type messages struct {
	Start, End string
	Chunk      []event
}

// page reads /messages from a token to the end of it, or to another token, or to
// an event for which known returns true. What it returns is in the order of the
// direction.
func (d *device) page(room, dir, from, to string, known func(string) bool) ([]event, error) {
	var all []event
	for {
		q := url.Values{"dir": {dir}, "limit": {fmt.Sprint(1 + d.r.IntN(60))}}
		if from != "" {
			q.Set("from", from)
		}
		if to != "" {
			q.Set("to", to)
		}
		a, err := d.do("GET", in(room, "messages?"+q.Encode()), nil)
		if err != nil {
			return nil, err
		}
		if a.code() == "M_FORBIDDEN" {
			return nil, errForbidden
		}
		var m messages
		if err := a.into(&m); err != nil || !a.ok() {
			return nil, fmt.Errorf("messages of %s in %s: %d %s", d.name, room, a.status, a.body)
		}
		for _, e := range m.Chunk {
			if known != nil && known(e.ID) {
				return all, nil
			}
			all = append(all, e)
		}
		if m.End == "" {
			return all, nil
		}
		from = m.End
	}
}

var errForbidden = errors.New("forbidden")

// fillAll fills all gaps but those before the first piece of a room.
func (d *device) fillAll() error {
	for _, m := range d.rooms {
		for len(m.pieces) > 1 {
			if err := d.fill(m, 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill fills the gap before a piece of the timeline, and joins it with the one
// before.
func (d *device) fill(m *room, i int) error {
	p := m.pieces[i]
	to := ""
	if d.bounded && i > 0 {
		to = p.to
	}
	own := map[string]bool{}
	for _, e := range p.events {
		own[e.ID] = true
	}
	var before map[string]bool
	if i > 0 {
		before = map[string]bool{}
		for _, e := range m.pieces[i-1].events {
			before[e.ID] = true
		}
	}
	var late error
	missed, err := d.page(m.id, "b", p.gap, to, func(id string) bool {
		if own[id] && late == nil {
			late = fmt.Errorf("%s: /messages of %s before the timeline has %s, which is in it", d, m.id, id)
		}
		if before[id] && to != "" && late == nil {
			late = fmt.Errorf("%s: /messages of %s down to the last token has %s, which was told before", d, m.id, id)
		}
		return before[id]
	})
	if errors.Is(err, errForbidden) {
		m.vague, m.pieces, err = true, nil, nil
		return nil
	}
	if err = errors.Join(err, late); err != nil {
		return err
	}
	slices.Reverse(missed)
	for _, e := range missed {
		m.has[e.ID] = true
	}
	p.events = append(missed, p.events...)
	p.gap = ""
	if i > 0 {
		q := m.pieces[i-1]
		q.events = append(q.events, p.events...)
		m.pieces = slices.Delete(m.pieces, i, i+1)
	}
	return nil
}
