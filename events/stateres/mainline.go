package stateres

import (
	"cmp"
	"container/heap"
	"math"
	"slices"

	"github.com/virga-im/virga/events/auth"
)

// beyond is the mainline position of events whose power levels do not come from
// the mainline.
const beyond = math.MaxInt

// mainline is the power levels events behind those that events cite, and among
// them the mainline: followed all at once, always what has the highest
// generation, and no further than the order of the events depends on it.
type mainline struct {
	*resolver
	position map[string]int    // on the mainline, as far as it is known
	behind   map[string]string // from those that were followed to the next, "" at the end
	seen     map[string]bool
	queue    []string // a heap of those to be followed: the highest generation first
	off      int      // how many of the queue are not on the mainline
	ended    bool     // some end off the mainline
	loose    bool     // some without a generation were followed before it was known that they are off
}

// generation of an event that was asked for. Behind one that is not known there
// is nothing.
func (m *mainline) generation(id string) int64 {
	switch e := m.views.known[id]; {
	case e == nil:
		return 0
	case e.Generation <= 0:
		return unplaced
	default:
		return e.Generation
	}
}

func (m *mainline) Len() int { return len(m.queue) }
func (m *mainline) Less(i, j int) bool {
	m.views.stats.Steps++
	a, b := m.queue[i], m.queue[j]
	if x, y := m.generation(a), m.generation(b); x != y {
		return x > y
	}
	return a < b
}
func (m *mainline) Swap(i, j int) { m.queue[i], m.queue[j] = m.queue[j], m.queue[i] }
func (m *mainline) Push(id any)   { m.queue = append(m.queue, id.(string)) }
func (m *mainline) Pop() any {
	last := len(m.queue) - 1
	id := m.queue[last]
	m.queue = m.queue[:last]
	return id
}

// add takes up a power levels event; it must have been asked for.
func (m *mainline) add(id string) {
	if m.seen[id] {
		return
	}
	m.seen[id] = true
	heap.Push(m, id)
	if _, on := m.position[id]; !on {
		m.off++
	}
}

// extend notes that an event is on the mainline at a position, and so is what was
// found behind it.
func (m *mainline) extend(id string, at int) {
	for id != "" {
		m.views.stats.Steps++
		if _, on := m.position[id]; on {
			return // a cycle of chosen event ids
		}
		m.position[id] = at
		next, followed := m.behind[id]
		if !followed {
			if m.seen[id] {
				m.off-- // it is in the queue
			}
			return
		}
		id, at = next, at+1
	}
}

// decided reports whether following the queue further changes no order. An event
// is followed only once the mainline is at its generation or below, or has ended,
// so that it cannot turn out to be a part of the mainline that was passed.
func (m *mainline) decided() bool {
	if len(m.queue) == 0 || m.off == 0 && !m.loose {
		return true
	}
	if m.generation(m.queue[0]) == unplaced {
		return false
	}
	if m.off == 0 || m.off == len(m.queue) {
		return true // none is left, or the mainline has ended above them
	}
	// One that is left, wherever on the mainline or beyond, is further back than
	// all that were found.
	_, on := m.position[m.queue[0]]
	return on && m.off == 1 && !m.ended
}

// follow goes one generation back.
func (m *mainline) follow() error {
	var ids, cited []string
	for g := m.generation(m.queue[0]); len(m.queue) > 0 && m.generation(m.queue[0]) == g; {
		id := heap.Pop(m).(string)
		ids = append(ids, id)
		if e := m.views.known[id]; e != nil {
			cited = append(cited, e.AuthEvents...)
		}
	}
	if err := m.views.load(cited); err != nil {
		return err
	}
	for _, id := range ids {
		next := ""
		if e := m.views.known[id]; e != nil {
			if a := m.cited(e, levelsKey); a != nil {
				next = a.ID
			}
		}
		m.behind[id] = next
		at, on := m.position[id]
		if !on {
			m.off--
			m.ended = m.ended || next == ""
			m.loose = m.loose || m.generation(id) == unplaced
		} else {
			m.extend(next, at+1)
		}
	}
	for _, id := range ids {
		if next := m.behind[id]; next != "" {
			m.add(next)
		}
	}
	return nil
}

// sortByMainline is the mainline ordering based on the power levels event from,
// which may be "". What the events cite must have been loaded.
func (r *resolver) sortByMainline(events []*auth.View, from string) ([]*auth.View, error) {
	m := &mainline{
		resolver: r,
		position: make(map[string]int), behind: make(map[string]string), seen: make(map[string]bool),
	}
	type placed struct {
		*auth.View
		levels string
		at     int
	}
	order := make([]placed, len(events))
	if from != "" {
		if err := r.views.load([]string{from}); err != nil {
			return nil, err
		}
		m.position[from] = 0
		m.add(from)
	}
	for i, e := range events {
		order[i].View = e
		if a := r.cited(e, levelsKey); a != nil {
			order[i].levels = a.ID
			m.add(a.ID)
		} else {
			m.ended = true
		}
	}
	for !m.decided() {
		if err := m.follow(); err != nil {
			return nil, err
		}
	}
	for i := range order {
		order[i].at = m.place(order[i].levels)
	}
	slices.SortFunc(order, func(x, y placed) int {
		r.views.stats.Steps++
		return cmp.Or(
			cmp.Compare(y.at, x.at), // further back in the mainline is earlier
			cmp.Compare(x.OriginServerTS, y.OriginServerTS),
			cmp.Compare(x.ID, y.ID),
		)
	})
	sorted := make([]*auth.View, len(order))
	for i := range order {
		sorted[i] = order[i].View
	}
	return sorted, nil
}

// place is the position of the first event on the mainline from id on, and
// beyond where none is found.
func (m *mainline) place(id string) int {
	var path []string
	at := beyond
	for id != "" {
		m.views.stats.Steps++
		if p, known := m.position[id]; known {
			at = p
			break
		}
		m.position[id] = beyond // until the end of the path is known; also ends cycles
		path = append(path, id)
		id = m.behind[id]
	}
	for _, id := range path {
		m.position[id] = at
	}
	return at
}
