//go:build unix

package main

import "syscall"

// keepPrivate makes all files of the process readable by its user only. The data
// folder holds the signing key, and everything that anybody said; the stores make
// their files for everybody.
func keepPrivate() { syscall.Umask(0o077) }
