// Package id reads and judges Matrix identifiers.
//
// Identifiers are plain strings everywhere in Virga: they come from the wire,
// go to the wire, and are compared byte for byte. This package says whether a
// string is a well-formed identifier and takes it apart; it never rewrites one.
//
// https://spec.matrix.org/v1.19/appendices/#identifier-grammar
package id

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxLength is the longest identifier in bytes, sigil and server included.
const MaxLength = 255

// ErrInvalid is wrapped by every error of this package.
var ErrInvalid = errors.New("invalid identifier")

func invalid(what, s, why string) error {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return fmt.Errorf("%w: %s %q %s", ErrInvalid, what, s, why)
}

// Server returns the server name of an identifier of the form &localpart:server,
// which is everything after the first colon, or "" when there is no colon (event
// ids of room version 3 and later, room ids of version 12 and later). It does
// not check the identifier.
func Server(s string) string {
	if i := strings.IndexByte(s, ':'); i >= 0 {
		return s[i+1:]
	}
	return ""
}

// Localpart returns what stands between the sigil and the first colon, or
// everything after the sigil when there is no colon. It does not check the
// identifier.
func Localpart(s string) string {
	if s == "" {
		return ""
	}
	if i := strings.IndexByte(s, ':'); i >= 1 {
		return s[1:i]
	}
	return s[1:]
}

// ParseUser takes a user id apart. It accepts historical user ids, as servers
// must: a localpart of any code points except ':' and NUL, even an empty one.
//
// https://spec.matrix.org/v1.19/appendices/#historical-user-ids
func ParseUser(s string) (localpart, server string, err error) {
	return parse("user id", '@', s)
}

// ValidUser reports whether s is a user id that events may carry, historical
// ones included.
func ValidUser(s string) bool { return wellFormed('@', s) }

// ValidNewUser reports whether s is a user id that a server may give out today:
// a localpart of a-z, 0-9 and ._=-/+ that is not empty.
//
// https://spec.matrix.org/v1.19/appendices/#user-identifiers
func ValidNewUser(s string) bool {
	return wellFormed('@', s) && ValidNewLocalpart(Localpart(s))
}

// ValidNewLocalpart reports whether s may be the localpart of a new user id.
// The length of the whole user id is for the caller to check.
func ValidNewLocalpart(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == '=', c == '-', c == '/', c == '+':
		default:
			return false
		}
	}
	return true
}

// Compliant reports whether a user id keeps to the characters U+0021 to U+007E
// and has a localpart. Servers do not forward other user ids to clients outside
// of events.
func Compliant(s string) bool {
	if !wellFormed('@', s) {
		return false
	}
	local := Localpart(s)
	for i := 0; i < len(local); i++ {
		if local[i] < 0x21 || local[i] > 0x7e {
			return false
		}
	}
	return local != ""
}

// User puts a user id together. It does not check the parts.
func User(localpart, server string) string { return "@" + localpart + ":" + server }

// ParseAlias takes a room alias apart.
//
// https://spec.matrix.org/v1.19/appendices/#room-aliases
func ParseAlias(s string) (localpart, server string, err error) {
	return parse("room alias", '#', s)
}

// ValidAlias reports whether s is a room alias.
func ValidAlias(s string) bool { return wellFormed('#', s) }

// ValidRoom reports whether s is a room id of either form: !opaque:server, or
// the hash of the create event without a server that room version 12 brought.
//
// https://spec.matrix.org/v1.19/appendices/#room-ids
func ValidRoom(s string) bool { return ValidRoomWithServer(s) || ValidRoomHash(s) }

// ValidRoomWithServer reports whether s is a room id of room versions 1 to 11.
func ValidRoomWithServer(s string) bool { return wellFormed('!', s) }

// ValidRoomHash reports whether s is a room id of room version 12 and later:
// '!' and 43 characters of URL-safe unpadded base64.
func ValidRoomHash(s string) bool { return len(s) == 44 && s[0] == '!' && base64URL(s[1:]) }

// ValidEvent reports whether s is an event id of any room version: $opaque:server
// or $hash. Event ids of room version 3 may hold '+' and '/'.
//
// https://spec.matrix.org/v1.19/appendices/#event-ids
func ValidEvent(s string) bool {
	if len(s) < 2 || len(s) > MaxLength || s[0] != '$' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] == 0 {
			return false
		}
	}
	return utf8.ValidString(s)
}

// RoomOfCreate returns the room id that a create event's id gives in room
// version 12 and later: the same hash with the sigil '!'.
func RoomOfCreate(eventID string) string {
	if eventID == "" {
		return ""
	}
	return "!" + eventID[1:]
}

// CreateOfRoom returns the id of the create event of a room of room version 12
// and later: the inverse of RoomOfCreate.
func CreateOfRoom(roomID string) string {
	if roomID == "" {
		return ""
	}
	return "$" + roomID[1:]
}

// ValidOpaque reports whether s fits the opaque identifier grammar, which media
// ids, login tokens and the like use: 1 to 255 of 0-9 A-Z a-z - . _ ~.
//
// https://spec.matrix.org/v1.19/appendices/#opaque-identifiers
func ValidOpaque(s string) bool {
	if s == "" || len(s) > MaxLength {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !alphanumeric(c) && c != '-' && c != '.' && c != '_' && c != '~' {
			return false
		}
	}
	return true
}

// ValidNamespaced reports whether s fits the common namespaced identifier
// grammar: 1 to 255 of a-z 0-9 - _ . beginning with a letter.
//
// https://spec.matrix.org/v1.19/appendices/#common-namespaced-identifier-grammar
func ValidNamespaced(s string) bool {
	if s == "" || len(s) > MaxLength || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// ValidDevice reports whether s can be a device id. The spec leaves device ids
// opaque, so this only keeps out what breaks elsewhere: empty, longer than 255
// bytes, not UTF-8, or with control characters.
func ValidDevice(s string) bool {
	if s == "" || len(s) > MaxLength || !utf8.ValidString(s) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// ValidKey reports whether s is a key id, such as ed25519:a_bcd: an algorithm
// and a name, both not empty.
func ValidKey(s string) bool {
	i := strings.IndexByte(s, ':')
	return i > 0 && i < len(s)-1 && len(s) <= MaxLength
}

func parse(what string, sigil byte, s string) (localpart, server string, err error) {
	switch {
	case s == "" || s[0] != sigil:
		return "", "", invalid(what, s, "does not begin with "+string(rune(sigil)))
	case len(s) > MaxLength:
		return "", "", invalid(what, s, "is longer than 255 bytes")
	case strings.IndexByte(s, ':') < 0:
		return "", "", invalid(what, s, "has no server name")
	case !wellFormed(sigil, s):
		return "", "", invalid(what, s, "has a character or server name that is not allowed")
	}
	return Localpart(s), Server(s), nil
}

// wellFormed checks sigil, localpart, server name and length.
func wellFormed(sigil byte, s string) bool {
	if len(s) < 2 || len(s) > MaxLength || s[0] != sigil {
		return false
	}
	ascii := true
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == ':':
			return (ascii || utf8.ValidString(s[1:i])) && ValidServer(s[i+1:])
		case c == 0:
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return false
}

func base64URL(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !alphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
