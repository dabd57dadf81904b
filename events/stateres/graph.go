package stateres

import (
	"container/heap"
	"slices"

	"github.com/virga-im/virga/events/auth"
)

// chain walks the auth events of the events in from, level by level, one batch a
// level, and calls visit once for each event reached, those in from excepted
// unless another reaches them. visit says whether to go on. Auth events that are
// not known end the walk there.
func (w *views) chain(from []string, visit func(id string) bool) error {
	seen := make(map[string]bool)
	for len(from) > 0 {
		if err := w.load(from); err != nil {
			return err
		}
		var next []string
		for _, id := range from {
			e := w.known[id]
			if e == nil {
				continue
			}
			for _, a := range e.AuthEvents {
				if seen[a] {
					continue
				}
				seen[a] = true
				if !visit(a) {
					return nil
				}
				next = append(next, a)
			}
		}
		from = next
	}
	return nil
}

// authDifference is ∪C − ∩C over the full auth chains C of the states.
//
// What the states agree on is in all of them, and so is its auth chain. So only
// events in the chains of conflicted events can differ; those that do are then
// sought in the chain of the rest, which is read only if there are any. Events
// that take part in the resolution anyway are not asked about. A store that can
// tell by arithmetic gives Conflict.AuthDifference instead.
func (w *views) authDifference(c Conflict) ([]string, error) {
	sets := c.Sets
	count := make(map[string]int)
	for _, set := range sets {
		if err := w.chain(conflictedIDs([]StateMap{set}), func(id string) bool { count[id]++; return true }); err != nil {
			return nil, err
		}
	}
	for id, n := range count {
		if n == len(sets) || w.settled[id] {
			delete(count, id)
		}
	}
	if len(count) == 0 {
		return nil, nil
	}
	var sought []string
	for id := range count {
		sought = append(sought, id)
	}
	rest, err := c.Younger(sought)
	if err != nil {
		return nil, err
	}
	if err := w.chain(rest, func(id string) bool { delete(count, id); return len(count) > 0 }); err != nil {
		return nil, err
	}
	difference := make([]string, 0, len(count))
	for id := range count {
		difference = append(difference, id)
	}
	slices.Sort(difference)
	return difference, nil
}

// subgraph is the conflicted state subgraph of room version 12: the events on
// paths between conflicted events, which are those that are an ancestor of one,
// or one, and a descendant of one, or one. Two passes, each linear in the auth
// chain, however many paths there are.
func (w *views) subgraph(conflicted []string) ([]string, error) {
	ancestors := slices.Clone(conflicted)
	in := make(map[string]bool, len(conflicted))
	for _, id := range conflicted {
		in[id] = true
	}
	err := w.chain(conflicted, func(id string) bool {
		if !in[id] {
			in[id] = true
			ancestors = append(ancestors, id)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	citedBy := make(map[string][]string, len(ancestors))
	for _, id := range ancestors {
		if e := w.known[id]; e != nil {
			for _, a := range e.AuthEvents {
				citedBy[a] = append(citedBy[a], id)
			}
		}
	}
	reached := make(map[string]bool, len(ancestors))
	for _, id := range conflicted {
		reached[id] = true
	}
	found := slices.Clone(conflicted)
	for i := 0; i < len(found); i++ {
		for _, id := range citedBy[found[i]] {
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

type queue []*ranked

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].before(q[j]) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(*ranked)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// sortByPower is the reverse topological power ordering: Kahn's algorithm that
// takes the smallest candidate each time. The graph is that of the auth_events
// links between the events given, as all servers have it: paths that leave the
// set and come back order nothing.
//
// Events on a cycle, which only the chosen event ids of room versions 1 and 2
// make possible, come last.
func sortByPower(events []*auth.View, level func(*auth.View) int64) []*auth.View {
	nodes := make(map[string]*ranked, len(events))
	for _, e := range events {
		nodes[e.ID] = &ranked{View: e, level: level(e)}
	}
	for _, n := range nodes {
		for _, a := range n.AuthEvents {
			if cited := nodes[a]; cited != nil {
				cited.citedBy = append(cited.citedBy, n)
				n.waits++
			}
		}
	}
	var q queue
	for _, n := range nodes {
		if n.waits == 0 {
			q = append(q, n)
		}
	}
	heap.Init(&q)
	sorted := make([]*auth.View, 0, len(nodes))
	for q.Len() > 0 {
		n := heap.Pop(&q).(*ranked)
		sorted = append(sorted, n.View)
		for _, m := range n.citedBy {
			if m.waits--; m.waits == 0 {
				heap.Push(&q, m)
			}
		}
	}
	if len(sorted) < len(nodes) {
		var rest []*ranked
		for _, n := range nodes {
			if n.waits > 0 {
				rest = append(rest, n)
			}
		}
		slices.SortFunc(rest, func(a, b *ranked) int {
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
