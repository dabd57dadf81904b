package token

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/virga-im/virga/shared/userlog"
)

// Search is where a search of messages goes on. What it means is up to
// shared/timeline. Like the others it grants nothing.
type Search struct {
	// Ranked says that the order is that of rank.
	Ranked bool
	// Scope is "room_id" or "sender" for a token of a group, whose value is Group.
	Scope, Group string
	// Rooms with ids up to this one are done.
	Rooms string
	// Shown is how many results there were before.
	Shown int64
	// Top and Bottom bound the window that is ranked: below Top, unless that is
	// zero, and not below Bottom. Last is the last result that was shown, and
	// LastRank its rank, in millionths.
	Top, Bottom, Last Place
	LastRank          int64
}

// Place is the place of a result in the order of time.
type Place struct {
	Time int64
	Room uint64
	Pos  userlog.Pos
}

const searchPrefix = "w1"

// maxSearch is the longest Search token: three identifiers and numbers.
const maxSearch = 1200

var scopes = []string{"", "room_id", "sender"}

// String encodes the token.
func (s Search) String() string {
	flags := byte(slices.Index(scopes, s.Scope)) << 1
	if s.Ranked {
		flags |= 1
	}
	b := []byte{flags}
	for _, text := range []string{s.Group, s.Rooms} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	for _, p := range []Place{s.Top, s.Bottom, s.Last} {
		b = binary.BigEndian.AppendUint64(b, uint64(p.Time))
		b = binary.BigEndian.AppendUint64(b, p.Room)
		b = binary.BigEndian.AppendUint64(b, uint64(p.Pos))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(s.Shown))
	b = binary.BigEndian.AppendUint64(b, uint64(s.LastRank))
	return searchPrefix + encoding.EncodeToString(b)
}

// ParseSearch reads a Search token.
func ParseSearch(text string) (Search, error) {
	var s Search
	if len(text) < len(searchPrefix) || len(text) > maxSearch || text[:len(searchPrefix)] != searchPrefix {
		return s, ErrInvalid
	}
	b, err := encoding.DecodeString(text[len(searchPrefix):])
	if err != nil || len(b) == 0 || int(b[0]>>1) >= len(scopes) {
		return s, ErrInvalid
	}
	s.Ranked, s.Scope, b = b[0]&1 == 1, scopes[b[0]>>1], b[1:]
	for _, to := range []*string{&s.Group, &s.Rooms} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > 255 || uint64(len(b)-size) < n {
			return Search{}, ErrInvalid
		}
		*to, b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	if len(b) != 11*8 {
		return Search{}, ErrInvalid
	}
	number := func() uint64 {
		v := binary.BigEndian.Uint64(b)
		b = b[8:]
		return v
	}
	for _, p := range []*Place{&s.Top, &s.Bottom, &s.Last} {
		p.Time, p.Room, p.Pos = int64(number()), number(), userlog.Pos(number())
	}
	s.Shown, s.LastRank = int64(number()), int64(number())
	if s.Shown < 0 || s.Shown > math.MaxInt32 || s.String() != text {
		return Search{}, ErrInvalid
	}
	return s, nil
}
