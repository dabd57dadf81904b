package push

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// fold maps texts that differ in case only to one: ASCII to capitals, and other
// letters to the least of those that Unicode's simple folding makes equal. A
// letter outside ASCII stays outside, so that folding moves no word boundary.
func fold(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'a' <= c && c <= 'z' {
			return strings.Map(foldRune, s)
		}
	}
	return s
}

func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		if f >= utf8.RuneSelf {
			least = min(least, f)
		}
	}
	return least
}
