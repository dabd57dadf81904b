package trie

import "context"

// Memory is a Loader over chunks in memory: for states that are computed before
// they are written, and for tests. Load may be called by many at once, but not
// during Add.
type Memory map[Hash][]byte

// Add keeps chunks.
func (m Memory) Add(chunks []Chunk) {
	for _, c := range chunks {
		m[c.Hash] = c.Data
	}
}

// Load implements [Loader].
func (m Memory) Load(_ context.Context, hashes []Hash) (map[Hash][]byte, error) {
	found := make(map[Hash][]byte, len(hashes))
	for _, h := range hashes {
		if data, ok := m[h]; ok {
			found[h] = data
		}
	}
	return found, nil
}

// Over returns a Loader that reads from m, and from below what m does not hold:
// for a chain of updates whose chunks are written together at the end.
func (m Memory) Over(below Loader) Loader { return over{m, below} }

type over struct {
	Memory
	below Loader
}

func (o over) Load(ctx context.Context, hashes []Hash) (map[Hash][]byte, error) {
	found, _ := o.Memory.Load(ctx, hashes)
	var rest []Hash
	for _, h := range hashes {
		if _, ok := found[h]; !ok {
			rest = append(rest, h)
		}
	}
	if len(rest) == 0 {
		return found, nil
	}
	more, err := o.below.Load(ctx, rest)
	if err != nil {
		return nil, err
	}
	for h, data := range more {
		found[h] = data
	}
	return found, nil
}
