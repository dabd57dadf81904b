package words

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
)

// Kind says what text of an event it is.
type Kind uint8

// The kinds.
const (
	Body  Kind = iota // of a message
	Name              // of a room
	Topic             // of a room
)

// MaxTime is the latest time of a document.
const MaxTime = 1 << 53

// A Doc is an event that has words. Its time is that of the event, in milliseconds,
// brought into the range from 0 to MaxTime.
type Doc struct {
	Time int64
	Pos  uint64
	Kind Kind
}

// After orders documents from the newest to the oldest.
func (d Doc) After(e Doc) int {
	return cmp.Or(cmp.Compare(e.Time, d.Time), cmp.Compare(e.Pos, d.Pos), cmp.Compare(d.Kind, e.Kind))
}

// An Entry is a document with its keys.
type Entry struct {
	Doc
	Keys []string
}

// A Run is a piece of the index: documents, the newest first, and for each word the
// numbers of those that have it, rising.
type Run struct {
	Docs  []Doc
	Words map[string][]int
}

// Build makes a run. Entries of one document become one.
func Build(entries []Entry) *Run {
	r := &Run{Words: map[string][]int{}}
	for _, e := range entries {
		r.Docs = append(r.Docs, e.Doc)
	}
	slices.SortFunc(r.Docs, Doc.After)
	r.Docs = slices.Compact(r.Docs)
	for _, e := range entries {
		n, _ := slices.BinarySearchFunc(r.Docs, e.Doc, Doc.After)
		for _, k := range e.Keys {
			r.Words[k] = append(r.Words[k], n)
		}
	}
	for k, list := range r.Words {
		slices.Sort(list)
		r.Words[k] = slices.Compact(list)
	}
	return r
}

// Merge makes one run of several.
func Merge(runs ...*Run) *Run {
	var entries []Entry
	for _, r := range runs {
		keys := make([][]string, len(r.Docs))
		for word, list := range r.Words {
			for _, n := range list {
				keys[n] = append(keys[n], word)
			}
		}
		for n, d := range r.Docs {
			entries = append(entries, Entry{d, keys[n]})
		}
	}
	return Build(entries)
}

// A run is stored as rows, of which each is named by what it begins with:
//
//	D#<n>     DocsPerRow documents from that with the number n*DocsPerRow on, n in hexadecimal
//	W#<word>  words from that one on, with the numbers of their documents
//
// A word is in the row with the largest name that is not above its own. The first
// such row is named W# alone, so that there is one for each word.
const (
	docsPrefix  = "D#"
	WordsPrefix = "W#"
	// DocsPerRow is how many documents a row has: some 3 KB.
	DocsPerRow = 512
	// rowSize is how large a row of words becomes, unless one word takes more: a
	// read unit is 4 KB with the key.
	rowSize = 3800
)

// A Row is a row of a run.
type Row struct {
	Name string
	Data []byte
}

// DocsRow names the row that has a document.
func DocsRow(n int) string { return fmt.Sprintf("%s%04x", docsPrefix, n/DocsPerRow) }

// Rows encodes the run.
func (r *Run) Rows() []Row {
	var rows []Row
	for i := 0; i < len(r.Docs); i += DocsPerRow {
		rows = append(rows, Row{DocsRow(i), encodeDocs(r.Docs[i:min(i+DocsPerRow, len(r.Docs))])})
	}
	row, last := Row{Name: WordsPrefix}, ""
	for _, word := range slices.Sorted(maps.Keys(r.Words)) {
		entry := encodeWord(last, word, r.Words[word])
		if len(row.Data) > 0 && len(row.Data)+len(entry) > rowSize {
			rows = append(rows, row)
			row, entry = Row{Name: WordsPrefix + word}, encodeWord("", word, r.Words[word])
		}
		row.Data, last = append(row.Data, entry...), word
	}
	return append(rows, row)
}

// ID names the run that somebody made at a version of an index: by its content, so
// that making it again writes the same rows.
func ID(version int64, rows []Row) string {
	h := sha256.New()
	fmt.Fprintln(h, version)
	for _, row := range rows {
		fmt.Fprintf(h, "%q %x\n", row.Name, row.Data)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func encodeDocs(docs []Doc) []byte {
	var b []byte
	var last Doc
	for i, d := range docs {
		since := d.Time
		if i > 0 {
			since = last.Time - d.Time
		}
		b = binary.AppendUvarint(b, uint64(since)<<2|uint64(d.Kind))
		b = binary.AppendVarint(b, int64(last.Pos-d.Pos))
		last = d
	}
	return b
}

var errCorrupt = errors.New("the row is corrupt")

// DecodeDocs reads a row of documents.
func DecodeDocs(data []byte) ([]Doc, error) {
	var docs []Doc
	var last Doc
	for len(data) > 0 {
		since, n := binary.Uvarint(data)
		if n <= 0 {
			return nil, errCorrupt
		}
		pos, m := binary.Varint(data[n:])
		if m <= 0 {
			return nil, errCorrupt
		}
		d := Doc{Time: int64(since >> 2), Pos: last.Pos - uint64(pos), Kind: Kind(since & 3)}
		if len(docs) > 0 {
			d.Time = last.Time - d.Time
		}
		docs, last, data = append(docs, d), d, data[n+m:]
	}
	return docs, nil
}

func encodeWord(last, word string, docs []int) []byte {
	shared := 0
	for shared < min(len(last), len(word)) && last[shared] == word[shared] {
		shared++
	}
	b := binary.AppendUvarint(nil, uint64(shared))
	b = binary.AppendUvarint(b, uint64(len(word)-shared))
	b = append(b, word[shared:]...)
	b = binary.AppendUvarint(b, uint64(len(docs)))
	before := 0
	for _, n := range docs {
		b = binary.AppendUvarint(b, uint64(n-before))
		before = n
	}
	return b
}

// eachWord gives the words of a row to yield until it returns false.
func eachWord(data []byte, yield func(word string, docs []int) bool) error {
	uvarint := func() (int, bool) {
		v, n := binary.Uvarint(data)
		if n <= 0 || v > 1<<32 {
			return 0, false
		}
		data = data[n:]
		return int(v), true
	}
	word := ""
	for len(data) > 0 {
		shared, ok1 := uvarint()
		size, ok2 := uvarint()
		if !ok1 || !ok2 || shared > len(word) || size > len(data) {
			return errCorrupt
		}
		word = word[:shared] + string(data[:size])
		data = data[size:]
		count, ok := uvarint()
		if !ok || count > len(data) {
			return errCorrupt
		}
		docs := make([]int, count)
		at := 0
		for i := range docs {
			d, ok := uvarint()
			if !ok {
				return errCorrupt
			}
			at += d
			docs[i] = at
		}
		if !yield(word, docs) {
			return nil
		}
	}
	return nil
}

// Find returns the numbers of the documents that have a word, from the row that may
// have it.
func Find(data []byte, key string) (docs []int, err error) {
	err = eachWord(data, func(word string, list []int) bool {
		if word == key {
			docs = list
		}
		return word < key
	})
	return docs, err
}

// Read decodes all rows of a run, in the order of their names.
func Read(rows []Row) (*Run, error) {
	r := &Run{Words: map[string][]int{}}
	for _, row := range rows {
		var err error
		if len(row.Name) > len(docsPrefix) && row.Name[:len(docsPrefix)] == docsPrefix {
			var docs []Doc
			docs, err = DecodeDocs(row.Data)
			r.Docs = append(r.Docs, docs...)
		} else {
			err = eachWord(row.Data, func(word string, docs []int) bool {
				r.Words[word] = docs
				return true
			})
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", row.Name, err)
		}
	}
	for _, list := range r.Words {
		if len(list) > 0 && list[len(list)-1] >= len(r.Docs) {
			return nil, errCorrupt
		}
	}
	return r, nil
}

// Intersect returns what is in both lists, which rise.
func Intersect(a, b []int) []int {
	if len(a) > len(b) {
		a, b = b, a
	}
	both := []int{}
	for _, n := range a {
		i := sort.SearchInts(b, n)
		if i == len(b) {
			break
		}
		if b[i] == n {
			both = append(both, n)
		}
		b = b[i:]
	}
	return both
}
