//go:build race

package server

// RaceEnabled is whether the test has the race detector; the server that it
// starts has it too, then.
const RaceEnabled = true
