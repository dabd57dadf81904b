package canonicaljson

import (
	"bytes"
	"math"
	"strconv"
)

// number reads a number by JSON's grammar and judges it by the mode.
func (p *parser) number() error {
	start, src := p.pos, p.src
	i := start
	if src[i] == '-' {
		i++
	}
	digits := i
	i = skipDigits(src, i)
	switch {
	case i == digits:
		return p.fail("expected a digit")
	case src[digits] == '0' && i > digits+1:
		return p.fail("number with a leading zero")
	}
	whole := i
	if i < len(src) && src[i] == '.' {
		if i = skipDigits(src, i+1); i == whole+1 {
			return p.fail("expected a digit")
		}
	}
	if i < len(src) && (src[i] == 'e' || src[i] == 'E') {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		exponent := i
		if i = skipDigits(src, i); i == exponent {
			return p.fail("expected a digit")
		}
	}
	negativeZero := i == whole && digits > start && whole == digits+1 && src[digits] == '0'
	exact := i == whole && !negativeZero
	if p.mode == Strict {
		switch {
		case negativeZero:
			return p.fail("negative zero")
		case !exact:
			return p.fail("number that is not an integer")
		case !safe(src[digits:i]):
			return p.fail("integer beyond 2^53-1")
		}
	}
	if exact {
		p.add(literal, start, i)
	} else {
		if f, err := strconv.ParseFloat(string(src[start:i]), 64); err != nil || math.IsInf(f, 0) {
			return p.fail("number out of range")
		}
		p.canonical = false
		p.add(fraction, start, i)
	}
	p.pos = i
	return nil
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

// safe reports whether decimal digits without leading zeros are at most MaxInt.
func safe(digits []byte) bool {
	const limit = "9007199254740991"
	return len(digits) < len(limit) || len(digits) == len(limit) && string(digits) <= limit
}

// appendFraction writes a lenient number that cannot stay as it is. Integral
// values written with an exponent become integers, as the spec's example wants;
// the rest is written as Python's json does, because in practice the servers
// whose hashes have to agree are written in Python.
func appendFraction(dst, raw []byte) []byte {
	f, _ := strconv.ParseFloat(string(raw), 64)
	plainPoint := bytes.IndexByte(raw, '.') >= 0 && !bytes.ContainsAny(raw, "eE")
	if f == math.Trunc(f) && math.Abs(f) <= MaxInt && !plainPoint {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	at := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if bytes.IndexByte(dst[at:], '.') < 0 {
		dst = append(dst, '.', '0')
	}
	return dst
}

// encoded returns the whole value in canonical form.
func (p *parser) encoded() []byte {
	if p.canonical {
		return p.src
	}
	return p.write(make([]byte, 0, len(p.src)), 0)
}

// write appends the canonical form of the value at node i.
func (p *parser) write(dst []byte, i int) []byte {
	n := p.nodes[i]
	switch n.kind {
	case fraction:
		return appendFraction(dst, p.src[n.start:n.end])
	case text:
		if n.escaped {
			return AppendString(dst, p.str(i))
		}
		return append(dst, p.src[n.start:n.end]...)
	case array:
		dst = append(dst, '[')
		for j := uint32(i) + 1; j < n.next; j = p.nodes[j].next {
			if j > uint32(i)+1 {
				dst = append(dst, ',')
			}
			dst = p.write(dst, int(j))
		}
		return append(dst, ']')
	case object:
		return p.writeObject(dst, i)
	default:
		return append(dst, p.src[n.start:n.end]...)
	}
}

func (p *parser) writeObject(dst []byte, at int) []byte {
	member := func(key int) {
		dst = p.write(dst, key)
		dst = append(dst, ':')
		dst = p.write(dst, key+1)
	}
	dst = append(dst, '{')
	if n := p.nodes[at]; !n.unsorted {
		for j := uint32(at) + 1; j < n.next; j = p.nodes[j+1].next {
			if j > uint32(at)+1 {
				dst = append(dst, ',')
			}
			member(int(j))
		}
		return append(dst, '}')
	}
	base := len(p.keys)
	count := len(p.sorted(at))
	for j := range count {
		if j > 0 {
			dst = append(dst, ',')
		}
		// Nested objects push on p.keys too, and may move it.
		member(int(p.keys[base+j]))
	}
	p.keys = p.keys[:base]
	return append(dst, '}')
}

// members returns the top level of a source that is canonical.
func (p *parser) members() []Member {
	root := p.nodes[0]
	out := make([]Member, 0, 16)
	for i := uint32(1); i < root.next; i = p.nodes[i+1].next {
		v := p.nodes[i+1]
		out = append(out, Member{intern(p.str(int(i))), p.src[v.start:v.end:v.end]})
	}
	return out
}

// intern gives the keys of an event without allocating them.
func intern(key []byte) string {
	switch string(key) {
	case "auth_events":
		return "auth_events"
	case "content":
		return "content"
	case "depth":
		return "depth"
	case "event_id":
		return "event_id"
	case "hashes":
		return "hashes"
	case "membership":
		return "membership"
	case "origin":
		return "origin"
	case "origin_server_ts":
		return "origin_server_ts"
	case "prev_events":
		return "prev_events"
	case "prev_state":
		return "prev_state"
	case "redacts":
		return "redacts"
	case "room_id":
		return "room_id"
	case "sender":
		return "sender"
	case "signatures":
		return "signatures"
	case "state_key":
		return "state_key"
	case "type":
		return "type"
	case "unsigned":
		return "unsigned"
	}
	return string(key)
}
