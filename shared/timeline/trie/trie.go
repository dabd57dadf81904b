// Package trie keeps the state of one room as a Merkle trie of immutable,
// content-addressed chunks. It is pure: chunks come from a [Loader], new ones
// are handed back, and nothing here knows a store or a clock.
//
// # Shape
//
// The path of an entry is SHA-256(len(room id), room id, len(type), type, state
// key), read five bits a level. The lengths make the input injective: with a
// separator alone, the keys ("a\x00b", "c") and ("a", "b\x00c") would share
// all 256 bits, and a member could pile up keys that no level tells apart. The
// room id is mixed in so that nobody can search for colliding keys once and use
// them in every room. There is no secret, so that two servers' or two builds'
// tries of the same state are comparable; what remains is grinding
// inside one known room, where each further level of depth costs 32 times the
// hashing and buys one more chunk.
//
// Three kinds of chunk, told apart by their first byte:
//
//   - a leaf holds entries in the order of their paths;
//   - a node holds a bitmap of its occupied slots, a bitmap of those that are
//     leaves, and one reference per occupied slot. Knowing leaves from
//     the outside lets a sweeper mark a room without reading its leaves, which
//     are some nineteen chunks in twenty;
//   - a root holds a reference to the subtree of everything but m.room.member,
//     and the top node of the member subtree itself. So non-member state that
//     fits one leaf, which is what authorising an event reads, is two reads.
//
// A set of entries is a leaf if and only if it encodes to at most 900 bytes or
// is one entry. This holds for each subtree and for the whole state: a room
// whose state fits one leaf is one chunk, without a root chunk. The member side
// of a root is one reference while the members fit one leaf. The encoding is
// therefore a function of the set of entries alone, whatever the order of
// insertions and removals, and equal roots mean equal states.
//
// 900 bytes of data with the keys of the item stay below 1 KB, one write unit.
// A full node is 777 bytes and a full root 802.
//
// # References
//
// A reference is the first 24 bytes of the chunk's SHA-256. To pass off a chunk
// for another takes a second preimage, 2^192 work; to make two chunks that
// share a reference, with entries of one's own choice, takes 2^96, out of
// reach, and the two would deceive only the room that the attacker is in, as
// rooms share no chunks. 32 bytes would make a full node 1,033 bytes, two
// write units instead of one on every level. The root is kept in full: it
// is the one hash that is stored in events' rows and compared by itself.
//
// # Versions
//
// The type codes and the chunk kinds are part of the encoding. To add a code
// changes the root of states that hold that type, so a code is never added to
// the present kinds: new kinds of chunk would be introduced beside them.
package trie

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// Root names the state of a room: the SHA-256 of its topmost chunk. The zero
// Root is the empty state.
type Root [32]byte

// String returns the root in hexadecimal.
func (r Root) String() string { return hex.EncodeToString(r[:]) }

// IsZero reports whether the state is empty.
func (r Root) IsZero() bool { return r == Root{} }

// Hash returns the address of the root's chunk.
func (r Root) Hash() Hash { return Hash(r[:24]) }

// ParseRoot reads what [Root.String] wrote.
func ParseRoot(s string) (Root, error) {
	var r Root
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(r) {
		return r, fmt.Errorf("state root %q is not 64 hexadecimal digits", s)
	}
	copy(r[:], b)
	return r, nil
}

// Hash is the address of a chunk: the first 24 bytes of the SHA-256 of its data.
type Hash [24]byte

// String returns the address as 32 characters of unpadded base64url, the form
// for sort keys and logs.
func (h Hash) String() string { return base64.RawURLEncoding.EncodeToString(h[:]) }

// ParseHash reads what [Hash.String] wrote.
func ParseHash(s string) (Hash, error) {
	var h Hash
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(h) {
		return h, fmt.Errorf("chunk address %q is not 32 characters of base64url", s)
	}
	copy(h[:], b)
	return h, nil
}

// Key is what makes a state event replace another.
type Key struct{ Type, StateKey string }

// Entry is one piece of state. In a change, an empty EventID removes the key.
type Entry struct {
	Key
	EventID string
}

// Change is a key whose event differs between two states. Old or New is empty
// where the key is absent.
type Change struct {
	Key
	Old, New string
}

// Chunk is an immutable piece of a trie. Data is at most 900 bytes, or one entry.
type Chunk struct {
	Hash Hash
	Data []byte
}

// Loader reads chunks. Load is called once per level with all the chunks that
// the level needs, each once, and splits them into its store's batches itself.
// A chunk that does not exist is absent from the answer. The answer is not
// trusted: each chunk is checked against its hash. It is not modified.
type Loader interface {
	Load(ctx context.Context, hashes []Hash) (map[Hash][]byte, error)
}

var (
	// ErrCorrupt reports a chunk that is not what its reference promises: its
	// data does not hash to it, does not decode, or belongs somewhere else.
	ErrCorrupt = errors.New("corrupt state chunk")
	// ErrMissing reports a chunk that the Loader does not have. A reader that
	// used eventual reads tries again with consistent ones.
	ErrMissing = errors.New("missing state chunk")
)

// WalkFilter selects the part of the state that [Walk] visits.
type WalkFilter uint8

const (
	WalkAll        WalkFilter = iota
	WalkNonMembers            // everything but m.room.member
	WalkMembers               // m.room.member alone
)
