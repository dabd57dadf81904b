//go:build !unix

package lambda

import "os"

// Nothing freezes a process here.
var stop, goOn os.Signal
