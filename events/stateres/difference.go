package stateres

import (
	"container/heap"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"

	"github.com/virga-im/virga/events/auth"
)

// reach says which of the states have an event in their full auth chains.
type reach []uint64

func newReach(states int) reach { return make(reach, (states+63)/64) }

func (r reach) add(state int) { r[state/64] |= 1 << (state % 64) }

// join adds what o has, and reports whether that was anything new.
func (r reach) join(o reach) bool {
	grown := false
	for i, word := range o {
		grown = grown || word&^r[i] != 0
		r[i] |= word
	}
	return grown
}

func (r reach) all(states int) bool {
	n := 0
	for _, word := range r {
		n += bits.OnesCount64(word)
	}
	return n == states
}

// unplaced is the generation of what may be above everything: an event whose
// generation is not known.
const unplaced = math.MaxInt64

// placed is an event of the walk.
type placed struct {
	id    string
	reach reach
	full  bool // all states reach it
	// generation is that of the event, once it is loaded; before, it is a bound.
	generation int64
	waiting    bool // to be loaded, or in the queue
	unknown    bool // to the store: nothing is behind it
}

// live reports whether the walk has to go on because of p: not all states reach
// it, or it may be above an event that was passed.
func (p *placed) live() bool { return p.waiting && (!p.full || p.generation == unplaced) }

// walk is the walk from the conflicted events down their auth chains, from the
// highest generation to the lowest, so that all who cite an event come before it
// and it is known, when its turn comes, which states reach it.
//
// An event without a generation comes before all that have one. Among those there
// is no order, so one that turns out to be reached by more states than when it
// had its turn gets another: at most one for each state.
type walk struct {
	*views
	states int
	events map[string]*placed
	queue  []*placed // a heap: the highest generation first
	unread []*placed // those to be loaded
	bound  int64     // what is unread has no generation above it
	alive  int       // those that are live
}

func (k *walk) Len() int { return len(k.queue) }
func (k *walk) Less(i, j int) bool {
	k.stats.Steps++
	a, b := k.queue[i], k.queue[j]
	if a.generation != b.generation {
		return a.generation > b.generation
	}
	return a.id < b.id
}
func (k *walk) Swap(i, j int) { k.queue[i], k.queue[j] = k.queue[j], k.queue[i] }
func (k *walk) Push(p any)    { k.queue = append(k.queue, p.(*placed)) }
func (k *walk) Pop() any {
	last := len(k.queue) - 1
	p := k.queue[last]
	k.queue = k.queue[:last]
	return p
}

// change changes p, and keeps count of those that are live.
func (k *walk) change(p *placed, do func()) {
	if p.live() {
		k.alive--
	}
	do()
	if p.live() {
		k.alive++
	}
}

// find notes that those who reach by reach an event whose generation is at most
// bound.
func (k *walk) find(id string, by reach, bound int64) {
	k.stats.Steps += len(by)
	p := k.events[id]
	if p == nil {
		p = &placed{id: id, reach: newReach(k.states), generation: bound, waiting: true}
		k.events[id] = p
		k.unread = append(k.unread, p)
		k.bound = max(k.bound, bound)
		if p.live() {
			k.alive++
		}
	}
	k.change(p, func() {
		if !p.reach.join(by) {
			return
		}
		p.full = p.reach.all(k.states)
		if !p.waiting && !p.unknown {
			p.waiting = true
			heap.Push(k, p)
		}
	})
}

// read loads in one batch all that was found. Events of the unconflicted state
// are in all states.
func (k *walk) read() error {
	ids := make([]string, len(k.unread))
	for i, p := range k.unread {
		ids[i] = p.id
	}
	if err := k.load(ids); err != nil {
		return err
	}
	views := make([]*auth.View, 0, len(ids))
	for _, id := range ids {
		if e := k.known[id]; e != nil {
			views = append(views, e)
		}
	}
	agreed, err := k.isAgreed(views)
	if err != nil {
		return err
	}
	for _, p := range k.unread {
		e := k.known[p.id]
		k.change(p, func() {
			if e == nil {
				p.unknown, p.waiting = true, false
				return
			}
			p.generation = e.Generation
			if p.generation <= 0 {
				p.generation = unplaced
			}
			if agreed(e) {
				for i := range k.states {
					p.reach.add(i)
				}
				p.full = true
			}
			heap.Push(k, p)
		})
	}
	k.unread, k.bound = k.unread[:0], 0
	return nil
}

// run walks until all that is left to be walked is reached by all states, and so
// is what is behind it.
func (k *walk) run() error {
	for k.alive > 0 {
		if err := k.read(); err != nil {
			return err
		}
		// Nothing unread cites an event of a generation as high as all of theirs.
		for len(k.queue) > 0 && k.queue[0].generation >= k.bound && k.alive > 0 {
			p := heap.Pop(k).(*placed)
			k.change(p, func() { p.waiting = false })
			below := p.generation
			if below != unplaced {
				below--
			}
			for _, a := range k.known[p.id].AuthEvents {
				k.find(a, p.reach, below)
			}
		}
	}
	return nil
}

// authDifference is ∪C − ∩C over the full auth chains C of the states, without
// what is in full, the part of the full conflicted set that is known already.
//
// What the states agree on is in all of them, and so is what is behind it. So
// only events behind conflicted events can differ, and of those that do, as far
// as the conflicted events tell, only those have to be dropped that are behind
// the unconflicted state too.
func (w *views) authDifference(c Conflict, full map[string]bool) ([]string, error) {
	k := &walk{views: w, states: len(c.Sets), events: make(map[string]*placed)}
	for i, set := range c.Sets {
		in := newReach(k.states)
		in.add(i)
		for _, id := range conflictedIDs([]StateMap{set}) {
			k.find(id, in, unplaced)
		}
	}
	if err := k.run(); err != nil {
		return nil, err
	}
	sought := make(map[string]bool)
	for id, p := range k.events {
		w.stats.Steps++
		if !p.full && !full[id] {
			sought[id] = true
		}
	}
	if err := w.dropAgreed(sought, c.Younger); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(sought)), nil
}

// dropAgreed drops from sought what is behind the unconflicted state. First it
// looks where it is likely: behind the events that replaced those sought.
func (w *views) dropAgreed(sought map[string]bool, younger func([]string) ([]string, error)) error {
	if len(sought) == 0 {
		return nil
	}
	s := search{views: w, sought: sought, seen: make(map[string]bool), lowest: unplaced}
	var keys []auth.Key
	for _, id := range slices.Sorted(maps.Keys(sought)) {
		e := w.known[id]
		if e == nil {
			s.lowest = 0
			continue
		}
		s.lowest = min(s.lowest, e.Generation)
		if e.State {
			keys = append(keys, e.Key())
		}
	}
	if err := w.look(keys); err != nil {
		return err
	}
	var from []string
	for _, k := range keys {
		if id := w.base[k]; id != "" {
			from = append(from, id)
		}
	}
	if err := s.behind(from); err != nil || len(sought) == 0 {
		return err
	}
	from, err := younger(slices.Sorted(maps.Keys(sought)))
	if err != nil {
		return fmt.Errorf("read younger state: %w", err)
	}
	return s.behind(from)
}

// search takes events that it comes across out of those sought.
type search struct {
	*views
	sought, seen map[string]bool
	lowest       int64 // generation of the events sought; 0 if one has none
}

// behind looks at the events in from and what is behind them, one batch a level,
// but not where only events of lower generations are than those sought.
func (s *search) behind(from []string) error {
	next := s.visit(nil, from)
	for len(next) > 0 && len(s.sought) > 0 {
		level := next
		if err := s.load(level); err != nil {
			return err
		}
		next = nil
		for _, id := range level {
			e := s.known[id]
			switch {
			case e == nil:
			case e.Generation <= 0 || e.Generation > s.lowest+1:
				next = s.visit(next, e.AuthEvents)
			case e.Generation > s.lowest:
				// Its auth events may be among those sought; theirs are not.
				for _, a := range e.AuthEvents {
					s.stats.Steps++
					delete(s.sought, a)
				}
			}
		}
	}
	return nil
}

// visit appends those of ids that are new to list.
func (s *search) visit(list, ids []string) []string {
	for _, id := range ids {
		s.stats.Steps++
		if !s.seen[id] {
			s.seen[id] = true
			delete(s.sought, id)
			list = append(list, id)
		}
	}
	return list
}
