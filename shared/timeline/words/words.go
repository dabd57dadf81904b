// Package words cuts texts into words, matches them with what somebody searches
// for, and is the codec of the index of words that shared/timeline documents. It
// reads and writes nothing.
//
// A word is a run of letters, digits and their marks, as Unicode has them, in the
// compatibility form and without regard to case, so that "Straße" is found by
// "STRASSE" and "ｆｕｌｌ" by "full". Accents count. Scripts that write no space
// between words (Chinese, Japanese, Thai and their like) and symbols, such as
// emoji, are words of one character each, and what is searched for in them has to
// stand in the text as it is. Words are not stemmed.
package words

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

const (
	// MaxText is how many bytes of a text are searched, from its beginning, and
	// MaxWords how many different words of them.
	MaxText  = 16 << 10
	MaxWords = 1000
	// maxKey bounds a word in the index, in bytes. Longer ones with the same
	// beginning are told apart when the text is matched.
	maxKey = 40
	// maxKeys is for how many words of a query the index is asked, the longest
	// ones. The text is matched with all of them.
	maxKeys = 6
	// maxWritten bounds the spellings of a match that are told.
	maxWritten = 50
)

// A Word is a word of a text.
type Word struct {
	Text string // in the form that is compared
	// Joined says that it follows the word before with nothing between.
	Joined bool
	// Written is what the text has there, with what it is joined to.
	Written string
}

// unspaced are the scripts without spaces between words.
var unspaced = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar, unicode.Tibetan,
}

// Split cuts a text into its words, up to the limits.
func Split(text string) []Word {
	text = cut(text, MaxText)
	s := splitter{seen: map[string]bool{}}
	begin := -1
	for i, r := range text {
		switch {
		case letter(r):
			if begin < 0 {
				begin = i
			}
			continue
		case begin >= 0:
			s.piece(text[begin:i])
			begin = -1
		}
		if symbol(r) {
			s.piece(text[i : i+utf8.RuneLen(r)])
		}
		if s.full() {
			return s.words
		}
	}
	if begin >= 0 {
		s.piece(text[begin:])
	}
	return s.words
}

func letter(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	}
	return unicode.In(r, unicode.L, unicode.N, unicode.M)
}

// The rest is not of ASCII.

func symbol(r rune) bool {
	return r >= utf8.RuneSelf && unicode.Is(unicode.So, r) && r != utf8.RuneError
}

func mark(r rune) bool { return r >= utf8.RuneSelf && unicode.Is(unicode.M, r) }

// single reports whether a character is a word of its own. The long vowel sign is
// of no script.
func single(r rune) bool {
	return r >= utf8.RuneSelf && (unicode.In(r, unspaced...) || r == 'ー' || symbol(r))
}

// cut returns at most so many bytes of a text, without a part of a character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

type splitter struct {
	words []Word
	seen  map[string]bool
}

func (s *splitter) full() bool { return len(s.seen) >= MaxWords }

// piece adds the words of what has nothing between.
func (s *splitter) piece(written string) {
	joined, begin := false, -1
	form := fold(written)
	add := func(end int) {
		if begin >= 0 && !s.full() {
			word := form[begin:end]
			s.seen[word] = true
			s.words = append(s.words, Word{word, joined, written})
			joined = true
		}
		begin = -1
	}
	alone := false // whether the word that began is one of one character
	for i, r := range form {
		switch {
		case mark(r) && begin >= 0: // belongs to what it is above or below
		case single(r):
			add(i)
			begin, alone = i, true
		case !letter(r):
			add(i)
			joined = false
		case begin >= 0 && alone:
			add(i)
			begin, alone = i, false
		case begin < 0:
			begin, alone = i, false
		}
	}
	add(len(form))
}

// fold is the form in which words are compared.
func fold(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(s)))
		}
	}
	return strings.ToLower(s)
}

// Key is a word as the index has it.
func Key(word string) string { return cut(word, maxKey) }

// Keys are the keys of a text, sorted, each once.
func Keys(text string) []string {
	var keys []string
	for _, w := range Split(text) {
		keys = append(keys, Key(w.Text))
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// A Query is what somebody searches for: texts that have all of its words.
type Query struct {
	// needles are the words, each a run of joined ones.
	needles [][]string
}

// ParseQuery reads a search term.
func ParseQuery(term string) *Query {
	q := new(Query)
	have := map[string]bool{}
	for words := Split(term); len(words) > 0; {
		n := 1
		for n < len(words) && words[n].Joined {
			n++
		}
		var needle []string
		for _, w := range words[:n] {
			needle = append(needle, w.Text)
		}
		if whole := strings.Join(needle, "\x00"); !have[whole] {
			have[whole] = true
			q.needles = append(q.needles, needle)
		}
		words = words[n:]
	}
	return q
}

// Empty says that there is no word in the query, so that nothing matches it.
func (q *Query) Empty() bool { return len(q.needles) == 0 }

// Keys are those of its words that the index is asked for, the longest first:
// they are likely to be the rarest.
func (q *Query) Keys() []string {
	var keys []string
	for _, needle := range q.needles {
		for _, word := range needle {
			keys = append(keys, Key(word))
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	keys = slices.Compact(keys)
	return keys[:min(len(keys), maxKeys)]
}

// A Match is how a text matches a query.
type Match struct {
	// Rank is larger the better it matches: above 0, and at most 2.
	Rank float64
	// Written are the words of the query as the text has them, in lower case.
	Written []string
}

// Match compares the query with a text; ok is false if the text lacks a word.
//
// The rank of a text is the mean over the words of how much of it they are: a word
// that is there often, in a text that is short, counts nearly one. A text that has
// the words of the query in their order and with nothing between gets one more.
func (q *Query) Match(text string) (m Match, ok bool) {
	if q.Empty() {
		return m, false
	}
	words := Split(text)
	at := make(map[string][]int, len(words))
	for i, w := range words {
		at[w.Text] = append(at[w.Text], i)
	}
	for _, needle := range q.needles {
		n := 0.0
		for _, i := range at[needle[0]] {
			if !begins(words[i:], needle) {
				continue
			}
			n++
			written := strings.ToLower(words[i].Written)
			if len(needle) > 1 || words[i].Joined || i+1 < len(words) && words[i+1].Joined {
				written = strings.Join(needle, "")
			}
			if len(m.Written) < maxWritten && !slices.Contains(m.Written, written) {
				m.Written = append(m.Written, written)
			}
		}
		if n == 0 {
			return Match{}, false
		}
		// As BM25 has it, with texts of twenty words as the usual ones.
		m.Rank += n / (n + 1.2*(0.25+0.75*float64(len(words))/20))
	}
	m.Rank /= float64(len(q.needles))
	if len(q.needles) > 1 && slices.ContainsFunc(at[q.needles[0][0]], func(i int) bool { return q.isPhrase(words[i:]) }) {
		m.Rank++
	}
	return m, true
}

// begins reports whether a text begins with the joined words of a needle.
func begins(words []Word, needle []string) bool {
	if len(words) < len(needle) {
		return false
	}
	for i, n := range needle {
		if words[i].Text != n || i > 0 && !words[i].Joined {
			return false
		}
	}
	return true
}

// isPhrase reports whether a text begins with the query.
func (q *Query) isPhrase(words []Word) bool {
	for _, needle := range q.needles {
		if !begins(words, needle) {
			return false
		}
		words = words[len(needle):]
	}
	return true
}
