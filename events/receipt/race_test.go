//go:build race

package receipt_test

// raced says that the race detector is in, under which a sync.Pool forgets at
// random.
const raced = true
