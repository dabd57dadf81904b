// Package token is the one codec of the tokens that clients carry: next_batch
// and since, prev_batch, from, to, start, end and at.
//
// There are two kinds. A Sync token is a place in a user's log, and is bound to
// the device it was given to. A position token is a boundary in the order of any
// room: the positions up to it are before, those above it are after, whichever
// way one reads. Neither is a secret, and neither grants anything: what a token
// of one's own invention reaches is checked like everything else.
package token

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/virga-im/virga/shared/userlog"
)

// The errors of Parse and ParseSync.
var (
	// ErrInvalid: this is no token of this server.
	ErrInvalid = errors.New("invalid token")
	// ErrForeign: the token was given to another user or device.
	ErrForeign = errors.New("token of another device")
)

// Sync is a place in a user's log.
type Sync struct {
	// Epoch is the restore generation of the server.
	Epoch int64
	// N is the last log entry that the device was told.
	N int64
	// ToDevice is the last to-device message that the device was given.
	ToDevice int64
	// Members is the number of the answer after which the device knew the members that
	// it was told of lazily; zero if it was told of none.
	Members uint32
	// Typing is who the device was told to type, in the form of shared/timeline, at
	// most MaxTyping bytes.
	Typing string
}

// MaxTyping bounds Sync.Typing, so that a token fits into a URL beside a filter.
const MaxTyping = 300

// Token is either a Sync token or a position.
type Token struct {
	IsSync bool
	Sync   Sync
	Pos    userlog.Pos
}

// version is the first character after the kind, so that the form can change
// while clients hold old tokens. Those of version 1 have no Members.
const (
	syncPrefix = "s2"
	sync1      = "s1"
	roomPrefix = "t1"
	maxLength  = 560
	digestSize = 6
)

var encoding = base64.RawURLEncoding.Strict()

// String encodes the token for a device.
func (s Sync) String(user, device string) string {
	var b []byte
	prefix := sync1
	for _, n := range []int64{s.Epoch, s.N, s.ToDevice} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	if s.Members != 0 {
		prefix, b = syncPrefix, binary.AppendUvarint(b, uint64(s.Members))
	}
	b = append(b, s.Typing...)
	d := digest(user, device)
	return prefix + encoding.EncodeToString(append(b, d[:]...))
}

// Position encodes the boundary just after a position.
func Position(p userlog.Pos) string {
	return roomPrefix + encoding.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(p)))
}

// ParseSync reads a token that must be the Sync token of the device.
func ParseSync(s, user, device string) (Sync, error) {
	t, err := Parse(s, user, device)
	if err == nil && !t.IsSync {
		err = ErrInvalid
	}
	return t.Sync, err
}

// Parse reads a token of either kind. There is one spelling of each token.
func Parse(s, user, device string) (Token, error) {
	if len(s) < len(syncPrefix) || len(s) > maxLength {
		return Token{}, ErrInvalid
	}
	kind, text := s[:len(syncPrefix)], s[len(syncPrefix):]
	b, err := encoding.DecodeString(text)
	if err != nil || encoding.EncodeToString(b) != text {
		return Token{}, ErrInvalid
	}
	switch kind {
	case roomPrefix:
		if len(b) != 8 {
			return Token{}, ErrInvalid
		}
		return Token{Pos: userlog.Pos(binary.BigEndian.Uint64(b))}, nil
	case sync1, syncPrefix:
		t := Token{IsSync: true}
		if err := t.Sync.parse(b, kind == sync1, user, device); err != nil {
			return Token{}, err
		}
		return t, nil
	}
	return Token{}, ErrInvalid
}

func (s *Sync) parse(b []byte, version1 bool, user, device string) error {
	var members int64
	fields := []*int64{&s.Epoch, &s.N, &s.ToDevice, &members}
	if version1 {
		fields = fields[:3]
	}
	for _, n := range fields {
		v, size := binary.Uvarint(b)
		if size <= 0 || v > 1<<62 || size > 1 && b[size-1] == 0 {
			return ErrInvalid
		}
		*n, b = int64(v), b[size:]
	}
	if s.Members = uint32(members); int64(s.Members) != members || (members == 0) != version1 {
		return ErrInvalid
	}
	if len(b) < digestSize || len(b) > digestSize+MaxTyping {
		return ErrInvalid
	}
	s.Typing, b = string(b[:len(b)-digestSize]), b[len(b)-digestSize:]
	if [digestSize]byte(b) != digest(user, device) {
		return ErrForeign
	}
	return nil
}

func digest(user, device string) [digestSize]byte {
	sum := sha256.Sum256([]byte(user + "\x00" + device))
	return [digestSize]byte(sum[:])
}
