package trie

import (
	"context"
	"errors"
)

var errUnfinished = errors.New("trie: not written yet")

// Lookup returns the event ids of those keys that are set.
func Lookup(ctx context.Context, l Loader, room string, root Root, keys []Key) (map[Key]string, error) {
	return nil, errUnfinished
}

// Update applies changes and returns the new root and the chunks to write before it is used.
func Update(ctx context.Context, l Loader, room string, root Root, changes []Entry) (Root, []Chunk, error) {
	return Root{}, nil, errUnfinished
}

// Build makes the trie of entries at once.
func Build(room string, entries []Entry) (Root, []Chunk, error) {
	return Root{}, nil, errUnfinished
}

// Diff returns the keys whose events differ between the states a and b.
func Diff(ctx context.Context, l Loader, room string, a, b Root) ([]Change, error) {
	return nil, errUnfinished
}

// Walk visits the entries of a state until yield returns false.
func Walk(ctx context.Context, l Loader, room string, root Root, filter WalkFilter, yield func(Entry) bool) error {
	return errUnfinished
}

// Reachable visits the address of every chunk below root, root included. Where yield returns false,
// the chunks below that one are left out.
func Reachable(ctx context.Context, l Loader, root Root, yield func(Hash) bool) error {
	return errUnfinished
}
