package bootstrap

import (
	"os"
	"path/filepath"
	"testing"
)

// maxSize bounds the program. If it is exceeded, go tool nm -size -sort size of a
// build without -s tells by what; the usual reason is a package that lets the
// linker drop nothing, such as text/template (see tests/imports).
const maxSize = 13 << 20

func TestTheProgramIsSmall(t *testing.T) {
	file := filepath.Join(t.TempDir(), Name)
	if err := Build(file, "arm64"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the program has %d bytes, %.1f MB", info.Size(), float64(info.Size())/(1<<20))
	if info.Size() > maxSize {
		t.Errorf("the program has %d bytes, want at most %d", info.Size(), maxSize)
	}
}
