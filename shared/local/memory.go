package local

import (
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Memory is a disk in memory that can crash. A test opens it, kills the Local,
// and opens what Crash returns:
//
//	disk := local.NewMemory()
//	l, err := local.Open(disk.Options())
//	…
//	l, err = local.Open(disk.Crash().Options())
type Memory struct{ fs *vfs.MemFS }

// NewMemory returns an empty disk.
func NewMemory() *Memory { return &Memory{vfs.NewCrashableMem()} }

// Options returns options that open the disk.
func (m *Memory) Options() Options { return Options{Dir: "/virga", FS: m.fs} }

// Crash returns a copy that holds exactly what was synced, unlocked. The
// original goes on undisturbed.
func (m *Memory) Crash() *Memory { return &Memory{m.fs.CrashClone(vfs.CrashCloneCfg{})} }

// CrashKeeping is Crash where each part that was not synced survives with the
// given probability in percent, as on a real disk.
func (m *Memory) CrashKeeping(percent int, r *rand.Rand) *Memory {
	return &Memory{m.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r})}
}
