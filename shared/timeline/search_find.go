package timeline

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/timeline/words"
)

// A finder finds what matches in some rooms, from the newest to the oldest.
type finder struct {
	q     *search
	keys  []string // that the index is asked for
	kinds map[words.Kind]bool
	rooms []*findable
	// start is the place below which it began, below that below which everything is
	// that was not considered yet, and floor that below which it does not look. Zero
	// means no bound.
	start, below, floor token.Place
	looks               int
	// stopped says that it ended because it had looked at enough.
	stopped bool
}

// findable is a room that is searched.
type findable struct {
	w       *view
	index   WordIndex
	hash    uint64      // orders events of one time in different rooms
	pending []candidate // not considered yet, the newest first
	runs    []RunRef    // not looked at yet, those with the newest document first
	// opened is how many documents there are in what was looked at, and matched how
	// many of them have the words.
	opened, matched int
}

// candidate is an event that has, or had, the words.
type candidate struct {
	place token.Place
	room  *findable
	row   *EventRow // nil if it has to be read
}

// find begins to search rooms. What it reads of each does not depend on how long its
// history is, but for the list of runs: 25 bytes for 2048 messages.
func (q *search) find(ctx context.Context, rooms []*view, below, floor token.Place, looks int) (*finder, error) {
	f := &finder{q: q, keys: q.query.Keys(), kinds: map[words.Kind]bool{}, start: below, below: below, floor: floor, looks: looks}
	for key, kind := range searchedKeys {
		f.kinds[kind] = q.req.Keys == nil || slices.Contains(q.req.Keys, key)
	}
	if user := q.onlySender(); user != "" {
		f.keys = append([]string{senderKey(user)}, f.keys...)
	}
	byPart := map[string]*findable{}
	var settings, indexes []store.Ref
	for _, w := range rooms {
		sum := sha256.Sum256([]byte(w.room))
		r := &findable{w: w, hash: binary.BigEndian.Uint64(sum[:])}
		f.rooms = append(f.rooms, r)
		encryption, index := encryptionRow(w.room), store.Ref{Table: store.Events, Key: WordIndexKey(w.room)}
		byPart[encryption.Key.Part], byPart[index.Key.Part] = r, r
		settings, indexes = append(settings, encryption), append(indexes, index)
	}
	encrypted, err := store.GetAll(ctx, q.s.DB, settings, store.Eventual)
	if err != nil {
		return nil, fmt.Errorf("read which rooms are encrypted: %w", err)
	}
	items, err := store.GetAll(ctx, q.s.DB, indexes, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read indexes of words: %w", err)
	}
	for _, it := range items {
		r := byPart[it.Key.Part]
		if r.index, err = decodeWordIndex(it); err != nil {
			return nil, err
		}
	}
	for _, it := range encrypted {
		r := byPart[it.Key.Part]
		f.rooms = slices.DeleteFunc(f.rooms, func(other *findable) bool { return other == r })
	}
	return f, parallel(ctx, f.rooms, f.enter)
}

// onlySender is the one user whose events are searched, if it is one.
func (q *search) onlySender() string {
	if q.from.Scope == "sender" {
		return q.from.Group
	}
	if senders := q.req.Filter.Senders; len(senders) == 1 {
		return senders[0]
	}
	return ""
}

// enter lists the runs of a room, and searches what is not indexed.
func (f *finder) enter(ctx context.Context, r *findable) error {
	x := &r.index
	runs := slices.Concat(x.Full, x.Young)
	if x.Old > 0 {
		old, err := r.w.s.oldRuns(ctx, r.w.room)
		if err != nil {
			return err
		}
		runs = append(runs, old...)
	}
	for _, run := range runs {
		if f.below != (token.Place{}) && run.Old > f.below.Time || run.New < f.floor.Time {
			continue
		}
		r.runs = append(r.runs, run)
	}
	slices.SortFunc(r.runs, func(a, b RunRef) int { return cmp.Compare(b.New, a.New) })
	rows, err := r.w.s.unindexed(ctx, r.w.room, x)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := f.enterRow(ctx, r, row); err != nil {
			return err
		}
	}
	r.sort()
	return nil
}

// enterRow is enter for an event that is not indexed.
func (f *finder) enterRow(ctx context.Context, r *findable, row *EventRow) error {
	if row.Kind == KindState || row.Redacted != "" {
		return nil
	}
	e, err := row.Event()
	if err != nil {
		return err
	}
	t, ok := searchedIn(e)
	if !ok || !f.kinds[t.kind] {
		return nil
	}
	_, matches := f.q.query.Match(t.text)
	if t.edits != "" && !matches {
		_, matches = f.q.query.Match(t.plain)
	}
	// What an event was edited to may be indexed, or not.
	if !matches && !row.Edited {
		return nil
	}
	if row, e, _, err = r.w.s.edited(ctx, r.w.room, row, e, t); err == nil {
		f.add(r, docOf(row, e, t.kind), row)
	}
	return err
}

// add adds a candidate, if it is within bounds. What was considered already, in
// another run, is not.
func (f *finder) add(r *findable, d words.Doc, row *EventRow) {
	c := candidate{token.Place{Time: d.Time, Room: r.hash, Pos: Pos(d.Pos)}, r, row}
	if c.place.Pos > r.w.until || !f.kinds[d.Kind] ||
		f.below != (token.Place{}) && newer(c.place, f.below) <= 0 ||
		f.floor != (token.Place{}) && newer(c.place, f.floor) > 0 {
		return
	}
	r.pending = append(r.pending, c)
}

func (r *findable) sort() {
	slices.SortStableFunc(r.pending, func(a, b candidate) int { return newer(a.place, b.place) })
	r.pending = slices.CompactFunc(r.pending, func(a, b candidate) bool { return a.place == b.place })
}

// take returns the next results, at most n.
func (f *finder) take(ctx context.Context, n int) ([]*hit, error) {
	var hits []*hit
	for len(hits) < n && !f.stopped {
		some, err := f.next(ctx, min(n-len(hits), rankedTogether))
		if err != nil {
			return nil, err
		}
		if len(some) == 0 {
			break
		}
		f.looks += len(some)
		found, err := f.verify(ctx, some)
		if err != nil {
			return nil, err
		}
		hits = append(hits, found...)
	}
	return hits, nil
}

// runsAtOnce is how many runs are looked at together.
const runsAtOnce = 8

// next returns the next candidates, at most n, and none at the end.
func (f *finder) next(ctx context.Context, n int) ([]candidate, error) {
	var some []candidate
	for len(some) < n {
		var first *findable // that has the newest candidate
		for _, r := range f.rooms {
			if len(r.pending) > 0 && (first == nil || newer(r.pending[0].place, first.pending[0].place) < 0) {
				first = r
			}
		}
		type lookup struct {
			room *findable
			run  RunRef
		}
		var runs []lookup // that may have newer ones
		for _, r := range f.rooms {
			for _, run := range r.runs {
				if first != nil && run.New < first.pending[0].place.Time {
					break
				}
				runs = append(runs, lookup{r, run})
			}
		}
		if f.enough(first, len(runs) > 0) {
			break
		}
		if len(runs) > 0 {
			slices.SortStableFunc(runs, func(a, b lookup) int { return cmp.Compare(b.run.New, a.run.New) })
			runs = runs[:min(len(runs), runsAtOnce)]
			var mu sync.Mutex
			err := parallel(ctx, runs, func(ctx context.Context, l lookup) error {
				docs, err := f.look(ctx, l.room, l.run)
				mu.Lock()
				defer mu.Unlock()
				for _, d := range docs {
					f.add(l.room, d, nil)
				}
				l.room.opened, l.room.matched = l.room.opened+l.run.Docs, l.room.matched+len(docs)
				return err
			})
			if err != nil {
				return nil, err
			}
			for _, l := range runs {
				l.room.runs = slices.DeleteFunc(l.room.runs, func(run RunRef) bool { return run == l.run })
				l.room.sort()
			}
			f.looks += len(runs)
			continue
		}
		if first == nil {
			break
		}
		c := first.pending[0]
		first.pending = first.pending[1:]
		some, f.below = append(some, c), c.place
	}
	return some, nil
}

// enough reports whether the search stops here: it has looked at enough, and knows a
// place below which everything is that is left, other than that where it began.
func (f *finder) enough(first *findable, runs bool) bool {
	most := maxLooks
	if f.floor != (token.Place{}) {
		most *= 2 // it is known what there is
	}
	if f.looks < most || first == nil && !runs {
		return false
	}
	newest := int64(0)
	if first != nil {
		newest = first.pending[0].place.Time
	}
	for _, r := range f.rooms {
		if len(r.runs) > 0 {
			newest = max(newest, r.runs[0].New)
		}
	}
	left := token.Place{Time: newest, Room: math.MaxUint64, Pos: end}
	if f.below != (token.Place{}) && newer(f.below, left) > 0 {
		left = f.below
	}
	if left == f.start {
		return false
	}
	f.below, f.stopped = left, true
	return true
}

// left is about how many results there are that were not considered.
func (f *finder) left() int64 {
	var n, docs, opened, matched int
	for _, r := range f.rooms {
		n += len(r.pending)
		for _, run := range r.runs {
			docs += run.Docs
		}
		opened, matched = opened+r.opened, matched+r.matched
	}
	if opened > 0 {
		n += docs * matched / opened
	}
	return int64(n)
}

// look returns the documents of a run that have the words.
func (f *finder) look(ctx context.Context, r *findable, run RunRef) ([]words.Doc, error) {
	var found []int
	for i, key := range f.keys {
		from, to := RunKey(r.w.room, run.ID, words.WordsPrefix), RunKey(r.w.room, run.ID, words.WordsPrefix+key)
		page, err := f.q.s.DB.Query(ctx, store.Query{
			Table: store.Events, Part: from.Part, From: from.Sort, To: to.Sort, Reverse: true, Limit: 1, Consistency: store.Consistent,
		})
		if err != nil {
			return nil, fmt.Errorf("read run %s of %s: %w", run.ID, r.w.room, err)
		}
		if len(page.Items) == 0 {
			return nil, ErrRunGone
		}
		docs, err := words.Find(page.Items[0].Bytes("b"), key)
		if err != nil {
			return nil, fmt.Errorf("read run %s of %s: %w", run.ID, r.w.room, err)
		}
		if i == 0 {
			found = docs
		} else {
			found = words.Intersect(found, docs)
		}
		if len(found) == 0 {
			return nil, nil
		}
	}
	return f.q.s.docs(ctx, r.w.room, run, found)
}

// docs reads documents of a run by their numbers.
func (s *Service) docs(ctx context.Context, room string, run RunRef, numbers []int) ([]words.Doc, error) {
	var refs []store.Ref
	for _, n := range numbers {
		k := RunKey(room, run.ID, words.DocsRow(n))
		if len(refs) == 0 || refs[len(refs)-1].Key != k {
			refs = append(refs, store.Ref{Table: store.Events, Key: k})
		}
	}
	items, err := store.GetAll(ctx, s.DB, refs, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read run %s of %s: %w", run.ID, room, err)
	}
	if len(items) != len(refs) {
		return nil, ErrRunGone
	}
	rows := map[store.Key][]words.Doc{}
	for _, it := range items {
		if rows[it.Key], err = words.DecodeDocs(it.Bytes("b")); err != nil {
			return nil, fmt.Errorf("read run %s of %s: %w", run.ID, room, err)
		}
	}
	docs := make([]words.Doc, len(numbers))
	for i, n := range numbers {
		row := rows[RunKey(room, run.ID, words.DocsRow(n))]
		if n%words.DocsPerRow >= len(row) {
			return nil, errors.New("a run has fewer documents than words say")
		}
		docs[i] = row[n%words.DocsPerRow]
	}
	return docs, nil
}
