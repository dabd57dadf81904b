package timeline

import (
	"context"
	"slices"

	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/timeline/words"
)

// hit is a result.
type hit struct {
	place token.Place
	room  *findable
	row   *EventRow
	event *pdu.Event
	match words.Match
}

// verify returns those of the candidates that match now, and that the user is shown.
func (f *finder) verify(ctx context.Context, some []candidate) ([]*hit, error) {
	at := map[*findable][]Pos{}
	for _, c := range some {
		if c.row == nil {
			at[c.room] = append(at[c.room], c.place.Pos)
		}
	}
	rows := make([]map[Pos]*EventRow, len(f.rooms))
	err := parallel(ctx, indexes(f.rooms), func(ctx context.Context, i int) (err error) {
		rows[i], err = f.q.s.rowsAt(ctx, f.rooms[i].w.room, at[f.rooms[i]])
		return err
	})
	if err != nil {
		return nil, err
	}
	read := map[*findable]map[Pos]*EventRow{}
	for i, r := range f.rooms {
		read[r] = rows[i]
	}
	checked := make([]*hit, len(some))
	err = parallel(ctx, indexes(some), func(ctx context.Context, i int) (err error) {
		c := some[i]
		if c.row == nil {
			c.row = read[c.room][c.place.Pos]
		}
		checked[i], err = f.check(ctx, c)
		return err
	})
	return slices.DeleteFunc(checked, func(h *hit) bool { return h == nil }), err
}

// check is verify for one, with its row.
func (f *finder) check(ctx context.Context, c candidate) (*hit, error) {
	w, row := c.room.w, c.row
	if row == nil || row.Kind == KindState || row.Redacted != "" {
		return nil, nil
	}
	if ok, err := w.shows(ctx, row, f.q.req.Filter); err != nil || !ok {
		return nil, err
	}
	e, err := row.Event()
	if err != nil {
		return nil, err
	}
	t, ok := searchedIn(e)
	if !ok || !f.kinds[t.kind] || f.q.from.Scope == "sender" && e.Sender != f.q.from.Group {
		return nil, nil
	}
	of, _, text, err := w.s.edited(ctx, w.room, row, e, t)
	if err != nil || of != row {
		return nil, err // an edit is not found beside what it edits
	}
	if row.Edited {
		edit, err := w.currentEdit(ctx, row, e)
		if err != nil {
			return nil, err
		}
		if edit != nil {
			now, _ := searchedIn(edit)
			text = now.text
		}
	}
	m, ok := f.q.query.Match(text)
	if !ok {
		return nil, nil
	}
	return &hit{c.place, c.room, row, e, m}, nil
}

// currentEdit returns the edit that is bundled with an event, or nil.
func (w *view) currentEdit(ctx context.Context, r *EventRow, e *pdu.Event) (*pdu.Event, error) {
	p := &bundling{event: e, row: &EventRow{ID: r.ID, Edited: true}}
	if err := w.findOf(ctx, p, format{nested: true}); err != nil || p.edit == 0 {
		return nil, err
	}
	rows, err := w.s.rowsAt(ctx, w.room, []Pos{p.edit})
	if err != nil || rows[p.edit] == nil || rows[p.edit].Redacted != "" {
		return nil, err
	}
	edit, err := rows[p.edit].Event()
	if err != nil || !edit.Replaces(e) {
		return nil, err
	}
	return edit, nil
}
