package stateres

import (
	"container/heap"
	"slices"

	"github.com/virga-im/virga/events/auth"
)

// citable reports whether other events may cite e as an auth event. Those that
// cite anything else are rejected where they are received (rule 3.2 of room
// version 12), and so are in no state and in no auth chain.
func citable(e *auth.View) bool {
	switch e.Type {
	case "m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.third_party_invite":
		return e.State
	}
	return false
}

// subgraph is the conflicted state subgraph of room version 12: the events on
// paths between conflicted events, which are those that are an ancestor of one,
// or one, and a descendant of one, or one. Two passes, each linear in the part of
// the auth chains that has generations above the lowest conflicted event,
// however many paths there are.
func (w *views) subgraph(conflicted []*auth.View) ([]string, error) {
	lowest := int64(unplaced)
	found := make([]string, 0, len(conflicted))
	seen := make(map[string]bool, len(conflicted))
	for _, e := range conflicted {
		seen[e.ID] = true
		found = append(found, e.ID)
		if citable(e) {
			lowest = min(lowest, e.Generation)
		}
	}
	citedBy := make(map[string][]string)
	for level := found; len(level) > 0; {
		if err := w.load(level); err != nil {
			return nil, err
		}
		var next []string
		for _, id := range level {
			e := w.known[id]
			if e == nil || e.Generation > 0 && e.Generation <= lowest {
				continue // nothing that is conflicted is behind it
			}
			for _, a := range e.AuthEvents {
				w.stats.Steps++
				citedBy[a] = append(citedBy[a], id)
				if !seen[a] {
					seen[a] = true
					next = append(next, a)
				}
			}
		}
		level = next
	}
	reached := make(map[string]bool, len(conflicted))
	for _, id := range found {
		reached[id] = true
	}
	for i := 0; i < len(found); i++ {
		for _, id := range citedBy[found[i]] {
			w.stats.Steps++
			if !reached[id] {
				reached[id] = true
				found = append(found, id)
			}
		}
	}
	return found, nil
}

// powerEvent reports whether e might remove someone's ability to do something.
func powerEvent(e *auth.View) bool {
	switch {
	case !e.State:
		return false
	case e.Type == "m.room.power_levels", e.Type == "m.room.join_rules":
		return true
	case e.Type == "m.room.member":
		m := e.Content.Membership
		return (m == "leave" || m == "ban") && e.Sender != e.StateKey
	}
	return false
}

// ranked is an event with the power level of its sender by its own auth events.
type ranked struct {
	*auth.View
	level   int64
	waits   int       // auth events among the sorted that are not out yet
	citedBy []*ranked // the sorted events that cite it
}

// before is the comparison of the reverse topological power ordering.
func (x *ranked) before(y *ranked) bool {
	switch {
	case x.level != y.level:
		return x.level > y.level
	case x.OriginServerTS != y.OriginServerTS:
		return x.OriginServerTS < y.OriginServerTS
	}
	return x.ID < y.ID
}

// ready is the heap of events that wait for no other.
type ready struct {
	*views
	events []*ranked
}

func (q *ready) Len() int { return len(q.events) }
func (q *ready) Less(i, j int) bool {
	q.stats.Steps++
	return q.events[i].before(q.events[j])
}
func (q *ready) Swap(i, j int) { q.events[i], q.events[j] = q.events[j], q.events[i] }
func (q *ready) Push(x any)    { q.events = append(q.events, x.(*ranked)) }
func (q *ready) Pop() any {
	last := len(q.events) - 1
	x := q.events[last]
	q.events = q.events[:last]
	return x
}

// sortByPower is the reverse topological power ordering: Kahn's algorithm that
// takes the smallest candidate each time. The graph is that of the auth_events
// links between the events given, as all servers have it: paths that leave the
// set and come back order nothing.
//
// Events on a cycle, which only the chosen event ids of room versions 1 and 2
// make possible, come last.
func (r *resolver) sortByPower(events []*auth.View) []*auth.View {
	nodes := make(map[string]*ranked, len(events))
	for _, e := range events {
		nodes[e.ID] = &ranked{View: e, level: r.senderLevel(e)}
	}
	q := ready{views: r.views}
	for _, e := range events {
		n := nodes[e.ID]
		for _, a := range n.AuthEvents {
			r.views.stats.Steps++
			if cited := nodes[a]; cited != nil {
				cited.citedBy = append(cited.citedBy, n)
				n.waits++
			}
		}
		if n.waits == 0 {
			q.events = append(q.events, n)
		}
	}
	heap.Init(&q)
	sorted := make([]*auth.View, 0, len(events))
	for q.Len() > 0 {
		n := heap.Pop(&q).(*ranked)
		sorted = append(sorted, n.View)
		for _, m := range n.citedBy {
			r.views.stats.Steps++
			if m.waits--; m.waits == 0 {
				heap.Push(&q, m)
			}
		}
	}
	if len(sorted) < len(events) {
		var rest []*ranked
		for _, n := range nodes {
			if n.waits > 0 {
				rest = append(rest, n)
			}
		}
		slices.SortFunc(rest, func(a, b *ranked) int {
			r.views.stats.Steps++
			if a.before(b) {
				return -1
			}
			return 1
		})
		for _, n := range rest {
			sorted = append(sorted, n.View)
		}
	}
	return sorted
}
