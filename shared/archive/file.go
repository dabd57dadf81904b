package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// MediaOf is the folder with the media of a file.
func MediaOf(file string) string { return file + ".media" }

// ToFile exports to a new file, which nobody but its owner reads, and which appears
// when it is whole. Media go to the folder MediaOf.
func ToFile(name string, export func(w io.Writer, media string) (Summary, error)) (Summary, error) {
	for _, there := range []string{name, MediaOf(name)} {
		if _, err := os.Lstat(there); !errors.Is(err, fs.ErrNotExist) {
			return Summary{}, errors.Join(fmt.Errorf("%s is there already: name a new file", there), err)
		}
	}
	partial := name + ".partial"
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return Summary{}, err
	}
	sum, err := export(f, MediaOf(name))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(partial, name)
	}
	if err != nil {
		return sum, errors.Join(err, os.Remove(partial), os.RemoveAll(MediaOf(name)))
	}
	return sum, nil
}

// FromFile imports from a file with its media.
func FromFile(name string, in func(r io.Reader, media string) (Summary, error)) (Summary, error) {
	f, err := os.Open(name)
	if err != nil {
		return Summary{}, err
	}
	defer f.Close()
	return in(f, MediaOf(name))
}
