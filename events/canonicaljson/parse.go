package canonicaljson

import (
	"bytes"
	"slices"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

type kind uint8

const (
	literal  kind = iota // true, false, null and integers: written as they are
	fraction             // a number that is not written as it is
	text
	object
	array
)

// node is one value, or one key, in the order of the source. The nodes of an
// object are key, value, key, value ... directly after its own.
type node struct {
	kind       kind
	escaped    bool   // text: the decoded form is in parser.decoded
	unsorted   bool   // object: keys are not in canonical order
	start, end uint32 // the value in the source, quotes included
	from, to   uint32 // text: the decoded form, in the source or in decoded
	next       uint32 // index of the first node after this value
}

// parser holds one pass over the source. It is used again through a pool, so
// nothing that leaves this package may alias nodes or decoded.
type parser struct {
	src       []byte
	pos       int
	depth     int
	mode      Mode
	canonical bool // no byte of the source has to change
	nodes     []node
	decoded   []byte
	keys      []uint32
}

var parsers = sync.Pool{New: func() any { return new(parser) }}

// parse leaves a parser with the tree of raw. The caller frees it.
func parse(raw []byte, mode Mode) (*parser, error) {
	if uint64(len(raw)) > 1<<31 {
		return nil, &Error{0, "too long"}
	}
	p := parsers.Get().(*parser)
	p.src, p.pos, p.depth, p.mode, p.canonical = raw, 0, 0, mode, true
	p.nodes, p.decoded, p.keys = p.nodes[:0], p.decoded[:0], p.keys[:0]
	err := p.value()
	if err == nil {
		p.space()
		if p.pos != len(raw) {
			err = &Error{p.pos, "data after the value"}
		}
	}
	if err != nil {
		p.free()
		return nil, err
	}
	return p, nil
}

func (p *parser) free() {
	p.src = nil
	if cap(p.nodes) > 1<<14 {
		p.nodes = nil // one huge document must not pin memory for ever
	}
	if cap(p.decoded) > 1<<18 {
		p.decoded = nil
	}
	parsers.Put(p)
}

func (p *parser) fail(reason string) error { return &Error{p.pos, reason} }

// space skips white space, which canonical JSON has none of.
func (p *parser) space() {
	for p.pos < len(p.src) {
		switch p.src[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
			p.canonical = false
		default:
			return
		}
	}
}

func (p *parser) value() error {
	p.space()
	if p.pos >= len(p.src) {
		return p.fail("unexpected end")
	}
	switch c := p.src[p.pos]; c {
	case '{':
		return p.object()
	case '[':
		return p.array()
	case '"':
		return p.text()
	case 't':
		return p.word("true")
	case 'f':
		return p.word("false")
	case 'n':
		return p.word("null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return p.number()
		}
		return p.fail("unexpected character")
	}
}

func (p *parser) word(w string) error {
	if len(p.src)-p.pos < len(w) || string(p.src[p.pos:p.pos+len(w)]) != w {
		return p.fail("unexpected character")
	}
	p.add(literal, p.pos, p.pos+len(w))
	p.pos += len(w)
	return nil
}

func (p *parser) add(k kind, start, end int) *node {
	n := len(p.nodes)
	p.nodes = append(p.nodes, node{kind: k, start: uint32(start), end: uint32(end), next: uint32(n + 1)})
	return &p.nodes[n]
}

// open begins an object or array; its end is not known yet.
func (p *parser) open(k kind) (int, error) {
	if p.depth++; p.depth > MaxDepth {
		return 0, p.fail("nested too deep")
	}
	at := len(p.nodes)
	p.add(k, p.pos, 0)
	p.pos++
	p.space()
	return at, nil
}

func (p *parser) close(at int) {
	p.pos++
	p.depth--
	p.nodes[at].end = uint32(p.pos)
	p.nodes[at].next = uint32(len(p.nodes))
}

func (p *parser) object() error {
	at, err := p.open(object)
	if err != nil {
		return err
	}
	if p.pos < len(p.src) && p.src[p.pos] == '}' {
		p.close(at)
		return nil
	}
	last, unsorted := -1, false
	for {
		p.space()
		if p.pos >= len(p.src) || p.src[p.pos] != '"' {
			return p.fail("expected a key")
		}
		key := len(p.nodes)
		if err := p.text(); err != nil {
			return err
		}
		if last >= 0 && !unsorted {
			switch bytes.Compare(p.str(last), p.str(key)) {
			case 0:
				p.pos = int(p.nodes[key].start)
				return p.fail("duplicate key")
			case 1:
				unsorted = true
			}
		}
		last = key
		p.space()
		if p.pos >= len(p.src) || p.src[p.pos] != ':' {
			return p.fail("expected a colon")
		}
		p.pos++
		if err := p.value(); err != nil {
			return err
		}
		p.space()
		if p.pos >= len(p.src) {
			return p.fail("unexpected end")
		}
		if p.src[p.pos] == '}' {
			break
		}
		if p.src[p.pos] != ',' {
			return p.fail("expected a comma")
		}
		p.pos++
	}
	p.close(at)
	if unsorted {
		p.canonical = false
		p.nodes[at].unsorted = true
		keys := p.sorted(at)
		for i := 1; i < len(keys); i++ {
			if bytes.Equal(p.str(int(keys[i-1])), p.str(int(keys[i]))) {
				p.pos = int(p.nodes[keys[i]].start)
				return p.fail("duplicate key")
			}
		}
		p.keys = p.keys[:len(p.keys)-len(keys)]
	}
	return nil
}

// sorted pushes the keys of the object at node at on p.keys, in canonical
// order, and returns them. The caller pops them.
func (p *parser) sorted(at int) []uint32 {
	base := len(p.keys)
	end := p.nodes[at].next
	for i := uint32(at) + 1; i < end; i = p.nodes[i+1].next {
		p.keys = append(p.keys, i)
	}
	keys := p.keys[base:]
	slices.SortFunc(keys, func(a, b uint32) int { return bytes.Compare(p.str(int(a)), p.str(int(b))) })
	return keys
}

func (p *parser) array() error {
	at, err := p.open(array)
	if err != nil {
		return err
	}
	if p.pos < len(p.src) && p.src[p.pos] == ']' {
		p.close(at)
		return nil
	}
	for {
		if err := p.value(); err != nil {
			return err
		}
		p.space()
		if p.pos >= len(p.src) {
			return p.fail("unexpected end")
		}
		if p.src[p.pos] == ']' {
			p.close(at)
			return nil
		}
		if p.src[p.pos] != ',' {
			return p.fail("expected a comma")
		}
		p.pos++
	}
}

// plain marks the bytes that a string may hold without further thought.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

func (p *parser) text() error {
	start := p.pos
	i := start + 1
	src := p.src
	wide := false
	for i < len(src) {
		c := src[i]
		if plain[c] {
			i++
			continue
		}
		switch {
		case c == '"':
			if wide && !utf8.Valid(src[start+1:i]) {
				return p.fail("invalid UTF-8")
			}
			n := p.add(text, start, i+1)
			n.from, n.to = uint32(start+1), uint32(i)
			p.pos = i + 1
			return nil
		case c == '\\':
			return p.escapedText(start)
		case c < 0x20:
			p.pos = i
			return p.fail("control character in a string")
		default:
			wide = true
			i++
		}
	}
	p.pos = i
	return p.fail("unexpected end")
}

// escapedText reads a string that has a backslash into p.decoded.
func (p *parser) escapedText(start int) error {
	from := len(p.decoded)
	p.pos = start + 1
	for {
		if p.pos >= len(p.src) {
			return p.fail("unexpected end")
		}
		c := p.src[p.pos]
		switch {
		case c == '"':
			if !utf8.Valid(p.decoded[from:]) {
				return p.fail("invalid UTF-8")
			}
			p.pos++
			n := p.add(text, start, p.pos)
			n.escaped, n.from, n.to = true, uint32(from), uint32(len(p.decoded))
			return nil
		case c == '\\':
			if err := p.escape(); err != nil {
				return err
			}
		case c < 0x20:
			return p.fail("control character in a string")
		default:
			p.decoded = append(p.decoded, c)
			p.pos++
		}
	}
}

func (p *parser) escape() error {
	if p.pos+1 >= len(p.src) {
		return p.fail("unexpected end")
	}
	c := p.src[p.pos+1]
	p.pos += 2
	switch c {
	case '"', '\\':
	case '/':
		p.canonical = false
	case 'b':
		c = '\b'
	case 't':
		c = '\t'
	case 'n':
		c = '\n'
	case 'f':
		c = '\f'
	case 'r':
		c = '\r'
	case 'u':
		return p.unicode()
	default:
		p.pos -= 2
		return p.fail("unknown escape")
	}
	p.decoded = append(p.decoded, c)
	return nil
}

// unicode reads the four digits after \u, and the second half of a pair.
func (p *parser) unicode() error {
	r, ok := hex4(p.src[p.pos:])
	if !ok {
		return p.fail("expected four hexadecimal digits")
	}
	if !shortestControl(r, p.src[p.pos:p.pos+4]) {
		p.canonical = false
	}
	p.pos += 4
	if utf16.IsSurrogate(r) {
		rest := p.src[p.pos:]
		if len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' {
			return p.fail("lone surrogate")
		}
		low, ok := hex4(rest[2:])
		if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
			return p.fail("lone surrogate")
		}
		p.pos += 6
	}
	p.decoded = utf8.AppendRune(p.decoded, r)
	return nil
}

// shortestControl reports whether \u with these digits is how canonical JSON
// writes r: a control character that has no shorter escape, in lower case.
func shortestControl(r rune, digits []byte) bool {
	switch {
	case r >= 0x20, r == '\b', r == '\t', r == '\n', r == '\f', r == '\r':
		return false
	}
	return digits[3] < 'A' || digits[3] > 'F'
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// str is the decoded form of a text node.
func (p *parser) str(i int) []byte {
	n := &p.nodes[i]
	if n.escaped {
		return p.decoded[n.from:n.to]
	}
	return p.src[n.from:n.to]
}
