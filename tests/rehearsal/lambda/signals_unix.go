//go:build unix

package lambda

import "syscall"

// What freezes a process, and lets it go on.
const (
	stop = syscall.SIGSTOP
	goOn = syscall.SIGCONT
)
