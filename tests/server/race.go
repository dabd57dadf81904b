//go:build race

package server

// raceEnabled builds the server with the race detector when the test has it.
const raceEnabled = true
