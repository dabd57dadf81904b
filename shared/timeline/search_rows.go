package timeline

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline/words"
)

// The index of words of a room, under the partition IX#room of the events table,
// which has no stream that would carry its writes to anybody.
//
//	HEAD         WordIndex  what is indexed, and in which runs
//	OLD#n        {rs}       packs of older full runs, which HEAD has no room for
//	R#run#D#n    {b}        documents of a run, see shared/timeline/words
//	R#run#W#word {b}        words of a run
//
// The index only says where to look: what is found is read, and matched anew, as it
// is at that moment, so that an edit or a redaction needs no change of the index, and
// what is not indexed yet is simply read. An edit is indexed as words of the event
// that it edits. Types of events other than those that the specification has are in no
// index, so encrypted events are in none; nor is what else is said in a room once it is
// encrypted.
//
// Runs are written by rooms.Service after fan-out, for IndexStep positions at a time,
// and never changed; several small ones become a larger one, 256 documents and then
// 2048, which stays. A writer puts the rows of a run first and then moves HEAD, on the
// condition of its version; only then is the run there. The rows of runs that became
// part of another are deleted when HEAD has moved once more, so that who read it just
// before still finds them. A kill in between leaves rows that the next try writes, or
// deletes, again: they are named by their content. (What was redacted just then makes
// another content, and leaves some KB behind. They go with the partition, when the
// room does. Until then words of what was redacted stay too, as its body does in its
// row, and nobody is shown them.) If all of the index is lost, it is made anew, and
// until then the last maxTail events are searched; if it is rolled back, it goes on
// from there. If a row of a run alone is lost, searches of the room fail until HEAD is
// deleted.
//
// What it costs (2026-11-25): a row for each word of each message would be 1 WU a
// word, as much again as the message for each dozen. A run of 32 messages of ten words
// is 3 KB, and HEAD 1 KB. With the runs that it becomes a part of, and the deletion of
// what it was, indexing takes 0.3 WU and 0.4 RU a message, 0.4 WU for twenty words and
// 1.6 for 1 KB of text, all of it behind fan-out. A search reads of each room HEAD,
// the events that are not indexed (32 at most, mostly), and of each run a row of 4 KB
// for each word, the newest runs first and only as far as results are wanted: 10,000
// messages are looked through for a rare word with some 35 RU, and each result is
// another. That suits people, who write all day and search now and then; a search
// service beside the store would be faster for many searches a second, and cost as
// much when there are none as the whole server does. An encrypted room costs a read
// for each IndexStep messages.
const (
	wordsTable = "IX#"
	// IndexStep is how many positions are indexed at a time. A search reads what is
	// not indexed yet, so fewer would make searches cheaper, and messages dearer.
	IndexStep = 32
	// The sizes from which on runs are merged into one, in documents.
	MiddleRun = 256
	FullRun   = 2048
	// OldPack is how many full runs an OLD# row has.
	OldPack = 8
	// maxTail bounds how many events a search reads that are not indexed.
	maxTail = 1000
)

// WordIndex is the HEAD of a room's index of words: 1 KB, and 40 bytes more for each
// gap in the room's history that is open.
type WordIndex struct {
	Version int64 `db:"v"`
	// High is the last position that is indexed. All before it are, but for Holes.
	High  Pos    `db:"hi"`
	Holes []Hole `db:"ho,omitempty"`
	// Full are the runs that stay, and Young the others, both from the oldest to the
	// newest. Old counts the rows of older ones.
	Full  []RunRef `db:"-"`
	Young []RunRef `db:"-"`
	Old   int64    `db:"old,omitempty"`
	// Dropped are runs whose rows are to be deleted.
	Dropped []string `db:"dr,omitempty"`
}

// Hole is a segment of the room's order that may still grow downwards.
type Hole struct {
	Segment Pos `json:"s"`
	// Low is the lowest position in it that is indexed.
	Low Pos `json:"l"`
}

// RunRef names a run. New and Old are the times of its newest and oldest document.
type RunRef struct {
	ID         string
	Docs, Rows int
	New, Old   int64
}

func wordsPart(room string) string { return wordsTable + room }

// WordIndexKey is the key of a room's WordIndex in the events table.
func WordIndexKey(room string) store.Key { return store.Key{Part: wordsPart(room), Sort: "HEAD"} }

// OldRunsKey is the key of a pack of older full runs.
func OldRunsKey(room string, n int64) store.Key {
	return store.Key{Part: wordsPart(room), Sort: fmt.Sprintf("OLD#%08x", n)}
}

// RunKey is the key of a row of a run.
func RunKey(room, run, row string) store.Key {
	return store.Key{Part: wordsPart(room), Sort: "R#" + run + "#" + row}
}

// Encode is the row's attributes.
func (x *WordIndex) Encode() store.Attrs {
	a := store.Encode(x)
	a["fu"], a["yo"] = EncodeRuns(x.Full), EncodeRuns(x.Young)
	return a
}

// EncodeRuns encodes references to runs, 25 bytes each.
func EncodeRuns(runs []RunRef) []byte {
	b := []byte{}
	for _, r := range runs {
		name, _ := hex.DecodeString(r.ID)
		b = append(b, name...)
		for _, n := range []int64{int64(r.Docs), int64(r.Rows), r.New, r.New - r.Old} {
			b = binary.AppendUvarint(b, uint64(n))
		}
	}
	return b
}

func decodeRuns(b []byte) ([]RunRef, error) {
	var runs []RunRef
	for len(b) > 0 {
		if len(b) < 8 {
			return nil, errors.New("list of runs is corrupt")
		}
		r := RunRef{ID: hex.EncodeToString(b[:8])}
		b = b[8:]
		var numbers [4]int64
		for i := range numbers {
			n, size := binary.Uvarint(b)
			if size <= 0 {
				return nil, errors.New("list of runs is corrupt")
			}
			numbers[i], b = int64(n), b[size:]
		}
		r.Docs, r.Rows, r.New, r.Old = int(numbers[0]), int(numbers[1]), numbers[2], numbers[2]-numbers[3]
		runs = append(runs, r)
	}
	return runs, nil
}

func decodeWordIndex(it store.Item) (x WordIndex, err error) {
	if err = store.Decode(it, &x); err != nil {
		return x, err
	}
	if x.Full, err = decodeRuns(it.Bytes("fu")); err != nil {
		return x, err
	}
	x.Young, err = decodeRuns(it.Bytes("yo"))
	return x, err
}

// WordIndex returns the index of a room; without one, the zero WordIndex.
func (s *Service) WordIndex(ctx context.Context, room string) (WordIndex, error) {
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Events, Key: WordIndexKey(room)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return WordIndex{}, nil
	}
	if err != nil {
		return WordIndex{}, fmt.Errorf("read index of words of %s: %w", room, err)
	}
	return decodeWordIndex(it)
}

// Encrypted reports whether a room is end to end encrypted. Such rooms are neither
// indexed nor searched, so that an answer which is a moment old does no harm.
func (s *Service) Encrypted(ctx context.Context, room string) (bool, error) {
	_, err := s.DB.Get(ctx, encryptionRow(room), store.Eventual)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read encryption of %s: %w", room, err)
	}
	return true, nil
}

func encryptionRow(room string) store.Ref {
	return store.Ref{Table: store.Rooms, Key: StateKey(room, "m.room.encryption", "")}
}

// oldRuns reads the packs of older full runs.
func (s *Service) oldRuns(ctx context.Context, room string) ([]RunRef, error) {
	var runs []RunRef
	q := store.Query{Table: store.Events, Part: wordsPart(room), Consistency: store.Consistent}.Prefix("OLD#")
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("read old runs of %s: %w", room, err)
		}
		pack, err := decodeRuns(it.Bytes("rs"))
		if err != nil {
			return nil, err
		}
		runs = append(runs, pack...)
	}
	return runs, nil
}

// ErrRunGone is the error of a run that became a part of another meanwhile.
var ErrRunGone = errors.New("the run is gone")

// Run reads a run with all its rows.
func (s *Service) Run(ctx context.Context, room string, ref RunRef) (*words.Run, error) {
	var rows []words.Row
	q := store.Query{Table: store.Events, Part: wordsPart(room), Consistency: store.Consistent}.Prefix(RunKey(room, ref.ID, "").Sort)
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("read run %s of %s: %w", ref.ID, room, err)
		}
		rows = append(rows, words.Row{Name: strings.TrimPrefix(it.Key.Sort, q.From), Data: it.Bytes("b")})
	}
	if len(rows) != ref.Rows {
		return nil, ErrRunGone
	}
	return words.Read(rows)
}

// Indexed reports whether a position is indexed.
func (x *WordIndex) Indexed(p Pos) bool {
	if p > x.High {
		return false
	}
	for _, h := range x.Holes {
		if segment(p) == h.Segment && p < h.Low {
			return false
		}
	}
	return true
}

// Below is the position just before the hole's segment, so that the hole is what is
// after Below and before Low.
func (h Hole) Below() Pos { return max(h.Segment, 1) - 1 }

// SegmentOf is the lowest position of the segment that p is in.
func SegmentOf(p Pos) Pos { return segment(p) }

// unindexed reads the positions that are not indexed, up to maxTail.
func (s *Service) unindexed(ctx context.Context, room string, x *WordIndex) ([]*EventRow, error) {
	rows, err := s.Range(ctx, room, x.High, end, true, maxTail)
	for _, h := range x.Holes {
		if err != nil || len(rows) >= maxTail {
			break
		}
		var more []*EventRow
		more, err = s.Range(ctx, room, h.Below(), h.Low-1, true, maxTail-len(rows))
		rows = append(rows, more...)
	}
	return rows, err
}
