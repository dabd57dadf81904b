package timeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline/trie"
)

// Summary is what a client needs to name a room, and to say how many are in it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_roomsummary
type Summary struct {
	Heroes  []string `json:"m.heroes,omitempty"`
	Joined  int64    `json:"m.joined_member_count"`
	Invited int64    `json:"m.invited_member_count"`
}

const (
	maxHeroes = 5
	// heroPage is how many members heroes are chosen from. In a room with more,
	// who came first does not matter for its name.
	heroPage = 100
)

// changesSummary reports whether the summary may be another after the change.
func (ids stateIDs) changesSummary() bool {
	for key := range ids {
		if key.Type == typeMember || key.StateKey == "" && (key.Type == "m.room.name" || key.Type == "m.room.canonical_alias") {
			return true
		}
	}
	return false
}

// summary reads the summary from the rows of the current state. They may be
// ahead of the answer, whose successor then tells the same again.
func (w *view) summary(ctx context.Context, root trie.Root) (*Summary, error) {
	// HEAD is just before the rows of members, so one read has all of a small room.
	page, err := w.s.DB.Query(ctx, store.Query{
		Table: store.Rooms, Part: RoomPart(w.room), From: HeadSort, To: memberPre + "\U0010FFFF",
		Limit: smallRoom + 1, Consistency: store.Consistent,
	})
	if err != nil {
		return nil, fmt.Errorf("read members of %s: %w", w.room, err)
	}
	if len(page.Items) == 0 || page.Items[0].Key.Sort != HeadSort {
		return nil, fmt.Errorf("%s has no head", w.room)
	}
	head, err := decodeHead(page.Items[0])
	switch {
	case err != nil:
		return nil, err
	case !head.RowsCurrent():
		return w.summaryOfState(ctx, head.CurrentRoot())
	case page.Next != "":
		return w.summaryOfRows(ctx, root, head)
	}
	members := map[string][]StateRow{}
	for _, it := range page.Items[1:] {
		m, err := decodeState(it)
		if err != nil {
			return nil, err
		}
		members[m.Membership] = append(members[m.Membership], m)
	}
	return w.summaryOf(ctx, root, members)
}

// smallRoom is up to how many members of whatever membership a room's summary is read
// at once.
const smallRoom = 30

// summaryOf is the summary of a room with these members, by membership.
func (w *view) summaryOf(ctx context.Context, root trie.Root, members map[string][]StateRow) (*Summary, error) {
	sum := &Summary{Joined: int64(len(members["join"])), Invited: int64(len(members["invite"]))}
	if named, err := w.named(ctx, root); err != nil || named {
		return sum, err
	}
	if sum.Heroes = w.heroes(append(members["join"], members["invite"]...)); len(sum.Heroes) == 0 {
		sum.Heroes = w.heroes(append(members["leave"], members["ban"]...))
	}
	return sum, nil
}

// summaryOfRows is summary for a room of any size.
func (w *view) summaryOfRows(ctx context.Context, root trie.Root, head *Head) (*Summary, error) {
	sum := new(Summary)
	q := store.Query{Table: store.Rooms, Part: RoomPart(w.room), Consistency: store.Consistent}.Prefix(serverPre)
	for it, err := range store.All(ctx, w.s.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("count members of %s: %w", w.room, err)
		}
		sum.Joined += it.Int("n")
	}
	invited, err := w.s.Members(ctx, w.room, head, "", "invite")
	if err != nil {
		return nil, err
	}
	sum.Invited = int64(len(invited))
	named, err := w.named(ctx, root)
	if err != nil || named {
		return sum, err
	}
	candidates := invited
	for _, where := range []string{Local, Remote} {
		rows, err := w.s.stateRows(ctx, w.room, memberPre+where+"#join#", heroPage)
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, rows...)
	}
	if sum.Heroes = w.heroes(candidates); len(sum.Heroes) > 0 {
		return sum, nil
	}
	candidates = nil
	for _, prefix := range []string{Local + "#leave#", Remote + "#leave#", Local + "#ban#", Remote + "#ban#"} {
		rows, err := w.s.stateRows(ctx, w.room, memberPre+prefix, heroPage)
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, rows...)
	}
	sum.Heroes = w.heroes(candidates)
	return sum, nil
}

// summaryOfState is summary while the rows are being moved.
func (w *view) summaryOfState(ctx context.Context, root trie.Root) (*Summary, error) {
	members := map[string][]StateRow{}
	for _, membership := range []string{"join", "invite", "leave", "ban"} {
		var err error
		if members[membership], err = w.s.membersOfState(ctx, w.room, root, "", membership); err != nil {
			return nil, err
		}
	}
	return w.summaryOf(ctx, root, members)
}

// heroes are the first of the members, without the user.
func (w *view) heroes(members []StateRow) []string {
	slices.SortFunc(members, func(a, b StateRow) int { return cmp.Compare(a.Pos, b.Pos) })
	var heroes []string
	for _, m := range members {
		if m.StateKey != w.User && len(heroes) < maxHeroes {
			heroes = append(heroes, m.StateKey)
		}
	}
	return heroes
}

// named reports whether the room has a name or an alias of its own.
func (w *view) named(ctx context.Context, root trie.Root) (bool, error) {
	rows, err := w.s.StateEvents(ctx, w.room, root, auth.Key{Type: "m.room.name"}, auth.Key{Type: "m.room.canonical_alias"})
	if err != nil {
		return false, err
	}
	for _, r := range rows {
		e, err := r.Visible()
		if err != nil {
			return false, err
		}
		for _, field := range []string{"name", "alias"} {
			if s, _ := canonicaljson.String(canonicaljson.Get(e.Content, field)); s != "" {
				return true, nil
			}
		}
	}
	return false, nil
}
