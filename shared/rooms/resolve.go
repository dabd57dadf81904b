package rooms

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/events/stateres"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
)

// resolve returns the state of the room where the states of several events meet,
// and keeps its new chunks for the batch. What it reads is what the states differ
// in, and what the algorithm asks for on account of that.
//
// https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
func (b *batch) resolve(ctx context.Context, roots []trie.Root) (trie.Root, error) {
	slices.SortFunc(roots, func(x, y trie.Root) int { return slices.Compare(x[:], y[:]) })
	roots = slices.Compact(roots)
	if len(roots) == 0 {
		return trie.Root{}, nil
	}
	if len(roots) == 1 {
		return roots[0], nil
	}
	m := meeting{b: b, ctx: ctx, base: roots[0]}
	if err := m.compare(roots); err != nil {
		return trie.Root{}, err
	}
	won, _, err := stateres.ResolveConflict(b.v, m.conflict(), &m)
	if err != nil {
		return trie.Root{}, fmt.Errorf("resolve state of %s: %w", b.room, err)
	}
	// An event of the auth difference may win a key that no state has.
	changes := m.agreed
	for k := range m.contested {
		if won[k] == "" {
			changes = append(changes, trie.Entry{Key: trie.Key(k)})
		}
	}
	for k, eventID := range won {
		changes = append(changes, trie.Entry{Key: trie.Key(k), EventID: eventID})
	}
	return b.update(ctx, roots[0], changes)
}

// update applies changes to a state and keeps the new chunks for the batch.
func (b *batch) update(ctx context.Context, root trie.Root, changes []trie.Entry) (trie.Root, error) {
	next, chunks, err := trie.Update(ctx, b.loader(), b.room, root, changes)
	if err != nil {
		return trie.Root{}, fmt.Errorf("change state of %s: %w", b.room, err)
	}
	b.mem.Add(chunks)
	b.chunks = append(b.chunks, chunks...)
	return next, nil
}

// loader reads chunks of the room, those of the batch included.
func (b *batch) loader() trie.Loader { return b.mem.Over(b.s.Timeline.Loader(b.room)) }

// meeting is several states compared with the first of them, as state resolution
// asks for them.
type meeting struct {
	b    *batch
	ctx  context.Context
	base trie.Root
	sets []stateres.StateMap // of what is contested
	// contested are the keys in conflict.
	contested map[auth.Key]bool
	// agreed are changes of base on which all agree, though base does not have
	// them: in room version 1 what only some states have is not in conflict.
	agreed []trie.Entry
}

// compare finds out what the states differ in.
func (m *meeting) compare(roots []trie.Root) error {
	m.contested = map[auth.Key]bool{}
	inBase := stateres.StateMap{}
	differ := make([]stateres.StateMap, len(roots))
	for i, r := range roots {
		differ[i] = stateres.StateMap{}
		changes, err := trie.Diff(m.ctx, m.b.loader(), m.b.room, m.base, r)
		if err != nil {
			return fmt.Errorf("compare states of %s: %w", m.b.room, err)
		}
		for _, c := range changes {
			k := auth.Key(c.Key)
			m.contested[k] = true
			inBase[k], differ[i][k] = c.Old, c.New
		}
	}
	m.sets = make([]stateres.StateMap, len(roots))
	for i := range roots {
		m.sets[i] = stateres.StateMap{}
		for k := range m.contested {
			id, ok := differ[i][k]
			if !ok {
				id = inBase[k]
			}
			if id != "" {
				m.sets[i][k] = id
			}
		}
	}
	if m.b.v.StateRes == roomversion.StateResV1 {
		m.settle()
	}
	return nil
}

// settle takes what room version 1 does not regard as a conflict out of the sets.
func (m *meeting) settle() {
	for k := range m.contested {
		id, same := "", true
		for _, set := range m.sets {
			if is := set[k]; is != "" {
				same = same && (id == "" || id == is)
				id = is
			}
		}
		if !same {
			continue
		}
		delete(m.contested, k)
		for _, set := range m.sets {
			delete(set, k)
		}
		m.agreed = append(m.agreed, trie.Entry{Key: trie.Key(k), EventID: id})
	}
}

func (m *meeting) conflict() stateres.Conflict {
	return stateres.Conflict{Unconflicted: m.unconflicted, Sets: m.sets, Younger: m.younger}
}

// unconflicted returns the events at keys in what the states agree on.
func (m *meeting) unconflicted(keys []auth.Key) ([]string, error) {
	var ask []trie.Key
	for _, k := range keys {
		if !m.contested[k] {
			ask = append(ask, trie.Key(k))
		}
	}
	found, err := trie.Lookup(m.ctx, m.b.loader(), m.b.room, m.base, ask)
	if err != nil {
		return nil, fmt.Errorf("look up state of %s: %w", m.b.room, err)
	}
	for _, e := range m.agreed {
		found[e.Key] = e.EventID
	}
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = found[trie.Key(k)]
	}
	return ids, nil
}

// younger returns the agreed events that became state after the first of the
// events was known: what was state before cannot have it in its auth chain, since
// an event is stored after those that it cites.
func (m *meeting) younger(ids []string) ([]string, error) {
	index, err := m.b.s.Timeline.Index(m.ctx, ids)
	if err != nil {
		return nil, err
	}
	since := m.b.head.Pos
	for _, eventID := range ids {
		if row := index[eventID]; row != nil {
			since = min(since, row.UnknownAt())
		}
	}
	then, err := m.b.s.Timeline.RootAt(m.ctx, m.b.room, since)
	if err != nil {
		return nil, err
	}
	changes, err := trie.Diff(m.ctx, m.b.loader(), m.b.room, then, m.base)
	if err != nil {
		return nil, fmt.Errorf("compare states of %s: %w", m.b.room, err)
	}
	var younger []string
	for _, c := range changes {
		if c.New != "" && !m.contested[auth.Key(c.Key)] {
			younger = append(younger, c.New)
		}
	}
	for _, e := range m.agreed {
		younger = append(younger, e.EventID)
	}
	return younger, nil
}

// Views implements stateres.Source.
func (m *meeting) Views(ids []string) ([]*auth.View, error) {
	found, err := m.b.viewsOf(m.ctx, ids)
	if err != nil {
		return nil, err
	}
	views := make([]*auth.View, len(ids))
	for i, eventID := range ids {
		if v := found[eventID]; v != nil && v.Room == m.b.room {
			views[i] = v
		}
	}
	return views, nil
}

// viewsOf returns the views of those of the events that are known, by id, those of
// the batch included. What was read once for the batch is not read again.
func (b *batch) viewsOf(ctx context.Context, ids []string) (map[string]*auth.View, error) {
	found := map[string]*auth.View{}
	var rest []string
	for _, eventID := range ids {
		if v := b.views[eventID]; v != nil {
			found[eventID] = v
		} else {
			rest = append(rest, eventID)
		}
	}
	if len(rest) == 0 {
		return found, nil
	}
	more, err := b.s.Timeline.ViewsByID(ctx, rest)
	if err != nil {
		return nil, err
	}
	maps.Copy(b.views, more)
	maps.Copy(found, more)
	return found, nil
}

// extremities returns all forward extremities of a room, oldest first.
func (s *Service) extremities(ctx context.Context, room string, head *timeline.Head) (exts []timeline.Extremity, spilled map[string]bool, err error) {
	spilled = map[string]bool{}
	if head.Spilled > 0 {
		if exts, err = s.Timeline.SpilledExtremities(ctx, room); err != nil {
			return nil, nil, err
		}
		for _, x := range exts {
			spilled[x.ID] = true
		}
	}
	return append(exts, head.Extremities...), spilled, nil
}
