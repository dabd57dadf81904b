package oracle

import (
	"strconv"
	"strings"
)

// A scribe writes JSON as nobody should: with spaces, escapes, numbers of all
// kinds, and now and then not JSON at all.
type scribe struct {
	dice
	tame bool // only what is valid in every room version, but still not canonical
}

var letters = []string{"a", "b", "z", "\u00e9", "\u2028", "\uffff", "\U0001f327", "/", "'", "<", "&", "\u007f", ".", "*", "\ufb33", " "}

// text is a string with quotes, written with whatever escapes are possible.
func (s scribe) text() string {
	var b strings.Builder
	b.WriteByte('"')
	for range s.IntN(5) {
		switch s.IntN(12) {
		case 0:
			b.WriteString(pick(s.dice, `\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t`))
		case 1:
			b.WriteString(pick(s.dice, `\u0000`, `\u001F`, `\u000a`, `\u0041`, `\u00e9`, `\uD83C\uDF27`, `\u005c`, `\u0022`, `\u002f`, `\u007f`, `\uffff`))
		case 2:
			if !s.tame && s.chance(4) {
				b.WriteString(pick(s.dice, `\ud83c`, `\udf27`, `\ud83c\u0041`, `\x`, `\u12`, "\x01", "\xff", "\xed\xa0\xbc", "\xc0\x80", "\n"))
			}
		default:
			b.WriteString(pick(s.dice, letters...))
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (s scribe) number() string {
	if s.tame {
		return strconv.Itoa(s.IntN(2000) - 1000)
	}
	return pick(s.dice, "0", "1", "-1", "42", "9007199254740991", "-9007199254740991", "9007199254740992", "-9007199254740992",
		"12345678901234567890", "-0", "1.0", "1.5", "-0.0", "0.0", "0e1", "1e3", "1E3", "1e-3", "1E400", "100e-2", "01", "+1", ".5", "1.", "-", "1e", "NaN", "0x10",
		"123456789012345678901234567890")
}

func (s scribe) space() string {
	if s.chance(4) {
		return pick(s.dice, " ", "\n", "\t", "\r", "  ")
	}
	return ""
}

// value writes any value. Objects may repeat keys.
func (s scribe) value(depth int) string {
	n := 8
	if depth == 0 {
		n = 5
	}
	switch s.IntN(n) {
	case 0:
		return s.number()
	case 1, 2:
		return s.text()
	case 3:
		return pick(s.dice, "true", "false", "null")
	case 4:
		if !s.tame && s.chance(20) {
			return pick(s.dice, "", "nul", "True", "[1,]", `{"a":1,}`, `{"a"}`, `{1:2}`, "[", "}", "//", "'a'")
		}
		return s.number()
	case 5:
		var items []string
		for range s.IntN(4) {
			items = append(items, s.space()+s.value(depth-1)+s.space())
		}
		return "[" + strings.Join(items, ",") + "]"
	default:
		return s.object(depth, nil)
	}
}

// object writes an object with these members and others.
func (s scribe) object(depth int, members []string) string {
	used := map[string]bool{}
	for _, m := range members {
		key, _, _ := strings.Cut(m, ":")
		used[key] = true
	}
	for range s.IntN(4) {
		key := s.text()
		if s.tame && (used[key] || strings.ContainsAny(key, `\`)) {
			continue
		}
		if !s.tame && s.chance(15) {
			key = `"a"`
		}
		used[key] = true
		members = append(members, s.space()+key+s.space()+":"+s.space()+s.value(depth-1)+s.space())
	}
	s.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return "{" + strings.Join(members, ",") + "}"
}

// document is a whole input: an object most of the time.
func (s scribe) document() string {
	d := s.value(3)
	if !s.chance(4) {
		d = s.object(3, nil)
	}
	d = s.space() + d + s.space()
	if !s.tame && s.chance(30) {
		d += pick(s.dice, "{}", "x", "\x00", ",")
	}
	return d
}
