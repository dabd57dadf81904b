//go:build unix

package clients

import (
	"os"
	"syscall"
)

// lockFile waits until no other process holds the lock of the file. A process
// that dies lets go of it.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
