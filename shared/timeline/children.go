package timeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/timeline/trie"
)

const (
	typeSpaceChild = "m.space.child"
	// maxChildren bounds how many children of a space are looked at, and shown.
	maxChildren = 1000
	// maxOrder is the longest order of a child, in characters.
	maxOrder = 50
)

// SpaceChildren returns the children of a space that stands at head, in their
// order; with suggested, those alone that are suggested.
func (s *Service) SpaceChildren(ctx context.Context, room string, head *Head, suggested bool) ([]Child, error) {
	rows, err := s.childEvents(ctx, room, head)
	if err != nil {
		return nil, err
	}
	children := []Child{}
	for _, r := range rows {
		e, err := r.Visible()
		if err != nil {
			return nil, err
		}
		if c, ok := childOf(e); ok && (!suggested || isSuggested(e)) {
			children = append(children, c)
		}
	}
	slices.SortFunc(children, Child.compare)
	return children, nil
}

// childEvents reads the m.space.child events of a room from the rows of its current
// state, which say where they are, or while those are being moved from the state
// itself.
func (s *Service) childEvents(ctx context.Context, room string, head *Head) (map[string]*EventRow, error) {
	var ids []string
	hints := map[string]Pos{}
	if head.RowsCurrent() {
		rows, err := s.stateRows(ctx, room, statePre+typeSpaceChild+"#", maxChildren)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if ids = append(ids, r.ID); r.Pos != 0 {
				hints[r.ID] = r.Pos
			}
		}
		return s.eventsAt(ctx, room, ids, hints, true)
	}
	err := trie.Walk(ctx, s.Loader(room), room, head.CurrentRoot(), trie.WalkNonMembers, func(e trie.Entry) bool {
		if e.Type == typeSpaceChild {
			ids = append(ids, e.EventID)
		}
		return len(ids) < maxChildren
	})
	if err != nil {
		return nil, fmt.Errorf("walk state of %s: %w", room, err)
	}
	return s.eventsAt(ctx, room, ids, nil, true)
}

// childOf reads a child; without servers to reach it by, which is how a child is
// taken out of a space, it is none.
func childOf(e *pdu.Event) (Child, bool) {
	via := 0
	for server := range canonicaljson.Elements(canonicaljson.Get(e.Content, "via")) {
		if _, ok := canonicaljson.String(server); !ok {
			return Child{}, false
		}
		via++
	}
	if via == 0 || e.StateKey == nil || !id.ValidRoom(*e.StateKey) {
		return Child{}, false
	}
	c := Child{Type: e.Type, StateKey: *e.StateKey, Sender: e.Sender, Content: e.Content, Time: e.OriginServerTS}
	if order, _ := canonicaljson.String(canonicaljson.Get(e.Content, "order")); validOrder(order) {
		c.order = order
	}
	return c, true
}

func validOrder(order string) bool {
	for _, c := range []byte(order) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(order) <= maxOrder
}

func isSuggested(e *pdu.Event) bool {
	yes, _ := canonicaljson.Bool(canonicaljson.Get(e.Content, "suggested"))
	return yes
}
