// Package blob is the contract of the media bucket: whole objects under keys.
package blob

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrNotFound is returned for a key without an object.
var ErrNotFound = errors.New("no such object")

// Meta describes an object. ContentType is kept with it.
type Meta struct {
	Key         string
	Size        int64
	ContentType string
	Modified    time.Time
}

// Store keeps objects. Keys are at most 1,024 bytes of [A-Za-z0-9._~/-] without
// "." and ".." segments, and do not start or end with a slash; other keys are
// an error. Implementations check the grants in ctx and are safe for concurrent
// use.
type Store interface {
	// Put stores an object whole or not at all, replacing what was there. It
	// reads r to its end; size is the number of bytes that r holds, or -1 if it
	// is not known, and an r of another length is an error.
	Put(ctx context.Context, key, contentType string, r io.Reader, size int64) error
	// Get opens an object. The caller closes it.
	Get(ctx context.Context, key string) (io.ReadCloser, Meta, error)
	// Stat describes an object.
	Stat(ctx context.Context, key string) (Meta, error)
	// Delete removes an object; none is fine.
	Delete(ctx context.Context, key string) error
	// List returns up to limit objects whose keys start with prefix and are
	// greater than after, in the order of their keys. ContentType is not filled.
	List(ctx context.Context, prefix, after string, limit int) ([]Meta, error)
}
