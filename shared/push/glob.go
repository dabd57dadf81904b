package push

import (
	"strings"
	"unicode/utf8"
)

// glob is a compiled pattern. Where it can it compares texts, and searches for
// texts otherwise: the cost grows with the pattern and the value, and not with
// their product.
//
// https://spec.matrix.org/v1.19/appendices/#glob-style-matching
type glob struct {
	// pieces are what is between the asterisks, folded.
	pieces []piece
	// one says that there is no asterisk.
	one bool
}

// piece is a text in which each question mark may stand for any character.
type piece struct {
	text string
	// any says that there is a question mark; without one, the text is literal.
	any bool
}

// maxSteps bounds what one evaluation spends on pieces with question marks, in
// bytes compared: the one search that is quadratic. What is beyond does not match.
const maxSteps = 1 << 20

func compileGlob(pattern string) glob {
	var g glob
	for _, text := range strings.Split(fold(pattern), "*") {
		g.pieces = append(g.pieces, piece{text, strings.Contains(text, "?")})
	}
	g.one = len(g.pieces) == 1
	return g
}

// whole reports whether the glob matches a whole folded text.
func (g *glob) whole(text string, steps *int) bool {
	first, last := &g.pieces[0], &g.pieces[len(g.pieces)-1]
	n := first.prefix(text, steps)
	if n < 0 {
		return false
	}
	if g.one {
		return n == len(text)
	}
	text = text[n:]
	for i := 1; i < len(g.pieces)-1; i++ {
		at, end := g.pieces[i].find(text, 0, steps)
		if at < 0 {
			return false
		}
		text = text[end:]
	}
	return last.suffix(text, steps)
}

// words reports whether the glob matches any part of a folded text that begins
// and ends at a word boundary.
func (g *glob) words(text string, steps *int) bool {
	last := len(g.pieces) - 1
	at, from := g.pieces[0].findWord(text, 0, true, g.one, steps)
	if at < 0 || g.one {
		return at >= 0
	}
	// The first place of each piece leaves the most room for those after it.
	for i := 1; i < last; i++ {
		if at, from = g.pieces[i].find(text, from, steps); at < 0 {
			return false
		}
	}
	at, _ = g.pieces[last].findWord(text, from, false, true, steps)
	return at >= 0
}

// prefix returns how many bytes of the text the piece matches at its beginning,
// or -1.
func (p *piece) prefix(text string, steps *int) int {
	if !p.any {
		if strings.HasPrefix(text, p.text) {
			return len(p.text)
		}
		return -1
	}
	n := 0
	for i := range len(p.text) {
		if *steps--; *steps < 0 || n >= len(text) {
			return -1
		}
		if p.text[i] == '?' {
			_, size := utf8.DecodeRuneInString(text[n:])
			n += size
		} else if text[n] == p.text[i] {
			n++
		} else {
			return -1
		}
	}
	return n
}

// suffix reports whether the text ends with the piece.
func (p *piece) suffix(text string, steps *int) bool {
	if !p.any {
		return strings.HasSuffix(text, p.text)
	}
	// The piece and what it matches have as many characters.
	at := len(text)
	for range utf8.RuneCountInString(p.text) {
		if at == 0 {
			return false
		}
		_, size := utf8.DecodeLastRuneInString(text[:at])
		at -= size
	}
	return p.prefix(text[at:], steps) == len(text)-at
}

// find returns the first place of the piece at or after from.
func (p *piece) find(text string, from int, steps *int) (at, end int) {
	if !p.any {
		at := strings.Index(text[from:], p.text)
		if at < 0 {
			return -1, -1
		}
		return from + at, from + at + len(p.text)
	}
	for ; from <= len(text) && *steps >= 0; from++ {
		if from < len(text) && !utf8.RuneStart(text[from]) {
			continue
		}
		if n := p.prefix(text[from:], steps); n >= 0 {
			return from, from + n
		}
	}
	return -1, -1
}

// findWord is find for places that begin at a word boundary, or end at one. An
// empty piece is next to an asterisk, which reaches to the next boundary.
func (p *piece) findWord(text string, from int, begin, end bool, steps *int) (int, int) {
	if p.text == "" {
		return from, from
	}
	for from <= len(text) {
		at, to := p.find(text, from, steps)
		if at < 0 || (!begin || boundary(text, at)) && (!end || boundary(text, to)) {
			return at, to
		}
		from = at + 1
		for from < len(text) && !utf8.RuneStart(text[from]) {
			from++
		}
	}
	return -1, -1
}

// boundary reports whether a word may begin or end before the byte i: anywhere
// but between two of A-Z, a-z, 0-9 and _. So a pattern that begins with another
// character, such as @, begins at a boundary.
func boundary(text string, i int) bool {
	return i == 0 || i == len(text) || !inWord(text[i-1]) || !inWord(text[i])
}

func inWord(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_'
}
