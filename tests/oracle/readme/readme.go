// Package readme keeps the generated parts of events/README.md.
package readme

import (
	"fmt"
	"os"
	"strings"
)

// Part returns what stands between the two markers of a name.
func Part(file, name string) (string, error) {
	_, part, _, err := cut(file, name)
	return part, err
}

// Write replaces it.
func Write(file, name, part string) error {
	before, _, after, err := cut(file, name)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(before+part+after), 0o644)
}

// cut keeps the markers in before and after.
func cut(file, name string) (before, part, after string, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", "", "", err
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	before, rest, ok := strings.Cut(string(b), begin)
	part, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", "", "", fmt.Errorf("%s has no %s…%s", file, begin, end)
	}
	return before + begin, part, end + after, nil
}

// Cell escapes text for a cell of a table.
func Cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
