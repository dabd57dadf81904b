// Package canonicaljson reads JSON that others sent, in one strict pass, and
// writes it in Matrix's canonical form, the one that is hashed and signed.
//
// Encode and Parse are for bytes that nobody has checked yet. They refuse what
// two JSON parsers could read differently: duplicate keys, lone surrogates,
// invalid UTF-8, bytes after the value. Everything that passes can be read with
// Fields, Get and the other functions of read.go, or with encoding/json. Mind
// that encoding/json matches struct fields without regard to case, and rules
// about events must not: {"Membership":"ban"} has no membership.
//
// https://spec.matrix.org/v1.19/appendices/#canonical-json
package canonicaljson

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Mode says which numbers are allowed.
type Mode uint8

const (
	// Strict allows integers from -(2^53)+1 to (2^53)-1, without exponent,
	// fraction or negative zero. Room versions 6 and later.
	Strict Mode = iota
	// Lenient allows any JSON number. Room versions 1 to 5, and signed JSON
	// that carries events of such rooms. Numbers become canonical as far as they
	// can: -0 is 0, 1e10 is 10000000000; integers of any size keep their digits,
	// and other floats are written with the fewest digits that read back equal.
	Lenient
)

const (
	// MaxInt is the largest integer in canonical JSON; -MaxInt is the smallest.
	MaxInt = 1<<53 - 1
	// MaxDepth is how deep arrays and objects may nest. The spec has no limit;
	// this one is beyond what other servers' parsers accept.
	MaxDepth = 1000
)

// ErrInvalid is what every *Error of this package unwraps to. It maps to
// M_NOT_JSON or M_BAD_JSON for clients.
var ErrInvalid = errors.New("invalid JSON")

// Error says what is wrong with untrusted bytes, and where.
type Error struct {
	Offset int    // in bytes from the start
	Reason string // "duplicate key", ...
}

func (e *Error) Error() string { return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset) }

// Unwrap returns ErrInvalid.
func (e *Error) Unwrap() error { return ErrInvalid }

// Member is one key of an object with its value.
type Member struct {
	Key   string
	Value []byte // canonical JSON; aliases the canonical bytes it came with
}

// Encode checks untrusted bytes and returns their canonical form. When raw is
// canonical already, the answer is raw itself and nothing is copied.
func Encode(raw []byte, mode Mode) ([]byte, error) {
	p, err := parse(raw, mode)
	if err != nil {
		return nil, err
	}
	defer p.free()
	return p.encoded(), nil
}

// Check reports whether untrusted bytes are acceptable JSON, and whether they
// are in canonical form.
func Check(raw []byte, mode Mode) (canonical bool, err error) {
	p, err := parse(raw, mode)
	if err != nil {
		return false, err
	}
	defer p.free()
	return p.canonical, nil
}

// Parse checks untrusted bytes that must be an object, and returns its members
// in canonical order together with its canonical form (raw itself when it is
// canonical already).
func Parse(raw []byte, mode Mode) (members []Member, canonical []byte, err error) {
	p, err := parse(raw, mode)
	if err != nil {
		return nil, nil, err
	}
	defer p.free()
	if p.nodes[0].kind != object {
		return nil, nil, &Error{0, "not an object"}
	}
	if p.canonical {
		return p.members(), raw, nil
	}
	canonical = p.encoded()
	for key, value := range Fields(canonical) {
		members = append(members, Member{key, value})
	}
	return members, canonical, nil
}

// Marshal is json.Marshal in canonical form: for values of our own. It fails on
// floats and on integers beyond MaxInt.
func Marshal(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return Encode(raw, Strict)
}

// AppendObject writes members, which must be in canonical order, as an object,
// leaving out those with a nil Value.
func AppendObject(dst []byte, members []Member) []byte {
	dst = append(dst, '{')
	first := true
	for _, m := range members {
		if m.Value == nil {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = AppendString(dst, m.Key)
		dst = append(dst, ':')
		dst = append(dst, m.Value...)
	}
	return append(dst, '}')
}

// AppendString writes a string, which must be UTF-8, in canonical form.
func AppendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
