//go:build !race

package receipt_test

// raced says that the race detector is in.
const raced = false
