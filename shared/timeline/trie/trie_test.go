package trie

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

const testRoom = "!room:example.org"

var ctx = context.Background()

// eventID returns an id of the form of room version 4 and later.
func eventID(n any) string {
	sum := sha256.Sum256(fmt.Append(nil, n))
	return "$" + base64.RawURLEncoding.EncodeToString(sum[:])
}

func member(n int) Entry {
	return Entry{Key{memberType, fmt.Sprintf("@user%d:host%d.example.org", n, n%37)}, eventID(n)}
}

func members(n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = member(i)
	}
	return entries
}

// basics is the state that every room has.
func basics() []Entry {
	var entries []Entry
	for _, typ := range []string{"m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.history_visibility",
		"m.room.guest_access", "m.room.name", "m.room.topic", "m.room.avatar", "m.room.encryption"} {
		entries = append(entries, Entry{Key{typ, ""}, eventID(typ)})
	}
	return entries
}

// counter is a store that counts what is asked of it.
type counter struct {
	Memory
	loads, chunks int
}

func (c *counter) Load(ctx context.Context, hashes []Hash) (map[Hash][]byte, error) {
	c.loads++
	c.chunks += len(hashes)
	return c.Memory.Load(ctx, hashes)
}

func (c *counter) reset() { c.loads, c.chunks = 0, 0 }

func build(t testing.TB, entries []Entry) (Root, Memory) {
	t.Helper()
	root, chunks, err := Build(testRoom, entries)
	if err != nil {
		t.Fatal(err)
	}
	m := Memory{}
	m.Add(chunks)
	return root, m
}

// update applies changes and keeps the chunks in m, after checking that each is
// written after what it refers to.
func update(t testing.TB, m Memory, root Root, changes ...Entry) Root {
	t.Helper()
	next, chunks, err := Update(ctx, m, testRoom, root, changes)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks {
		if len(c.Data) > maxLeaf && c.Data[0] != kindLeaf {
			t.Fatalf("chunk of kind %d has %d bytes", c.Data[0], len(c.Data))
		}
		if c.Data[0] == kindNode {
			kids, err := decodeNode(c.Data)
			if err != nil {
				t.Fatal(err)
			}
			for _, kid := range kids {
				if kid != nil && m[kid.hash] == nil {
					t.Fatalf("chunk %s comes before %s, to which it refers", c.Hash, kid.hash)
				}
			}
		}
		m.Add([]Chunk{c})
	}
	return next
}

func content(t testing.TB, l Loader, root Root, filter WalkFilter) map[Key]string {
	t.Helper()
	got := map[Key]string{}
	err := Walk(ctx, l, testRoom, root, filter, func(e Entry) bool {
		if _, twice := got[e.Key]; twice {
			t.Fatalf("%v comes twice", e.Key)
		}
		got[e.Key] = e.EventID
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func entriesOf(m map[Key]string) []Entry {
	var entries []Entry
	for k, id := range m {
		entries = append(entries, Entry{k, id})
	}
	return entries
}

// oddIDs are event ids that are not a hash in base64url, and look-alikes.
func oddIDs() []string {
	id := eventID(1)
	return []string{
		"$143273582443PhrSn:example.org",               // v1, v2
		"$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk", // v3: plain base64
		"$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg", // v4
		id[:43] + "B",                                   // stray bits in the last character
		id[:20] + "\n" + id[21:],                        // the decoder would skip it
		id + "=", id[1:], "x" + id[1:], "$", "event id", // not ids at all
		"$" + strings.Repeat("x", 300),
	}
}

func TestEventIDsOfAllFormsComeBackTheSame(t *testing.T) {
	var entries []Entry
	for i, id := range oddIDs() {
		entries = append(entries, Entry{Key{"m.room.topic", fmt.Sprint(i)}, id}, Entry{Key{memberType, fmt.Sprint(i)}, id},
			Entry{Key{"org.example.type", fmt.Sprint(i)}, id}, Entry{Key{"", fmt.Sprint(i)}, id})
	}
	root, m := build(t, entries)
	got := content(t, m, root, WalkAll)
	if len(got) != len(entries) {
		t.Fatalf("%d entries, want %d", len(got), len(entries))
	}
	for _, e := range entries {
		if got[e.Key] != e.EventID {
			t.Errorf("%v: %q, want %q", e.Key, got[e.Key], e.EventID)
		}
	}
}

func TestEntrySizeIsWhatIsWritten(t *testing.T) {
	for _, id := range append(oddIDs(), eventID(0)) {
		for _, typ := range []string{memberType, "", "org.example.type", strings.Repeat("t", 200), "m.room.create"} {
			for _, key := range []string{"", "@a:b", strings.Repeat("k", 127), strings.Repeat("k", 128), strings.Repeat("k", 20000)} {
				e := Entry{Key{typ, key}, id}
				if got, want := entrySize(e), len(appendEntry(nil, e)); got != want {
					t.Errorf("(%.20q, %.20q, %q): size %d, want %d", typ, key, id, got, want)
				}
			}
		}
	}
}

func TestTypeCodesAreFrozen(t *testing.T) {
	h := sha256.New()
	for _, typ := range types {
		fmt.Fprintf(h, "%s\n", typ)
	}
	const want = "23da57bf27d51021"
	if got := fmt.Sprintf("%x", h.Sum(nil)[:8]); got != want {
		t.Errorf("the table of type codes hashes to %s: a change gives old states new roots; see the package comment", got)
	}
}

// The same state must have the same root in ten years.
func TestRootsAreFrozen(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries []Entry
		root    string
	}{
		{"empty", nil, "0000000000000000000000000000000000000000000000000000000000000000"},
		{"one chunk", append(basics(), members(2)...), "dd5cfd15ec963c48fd3c4f37cf435715910093c05a368ba59b7f4560b9e313b6"},
		{"two leaves", append(basics(), members(12)...), "464a16966664e5cd01858bc8483dd361e4c19ed0bad3a698e81b06879b241362"},
		{"thousand", append(basics(), members(1000)...), "5fb4f447b0b6be78b901126f226f4fcdc4e443a8cb366938bf24b7d05b94d9f7"},
	} {
		root, _ := build(t, c.entries)
		if root.String() != c.root {
			t.Errorf("%s: %s", c.name, root)
		}
	}
}

func TestSmallRoomIsOneChunk(t *testing.T) {
	entries := append(basics(), members(3)...)
	root, chunks, err := Build(testRoom, entries)
	if err != nil || len(chunks) != 1 || chunks[0].Hash != root.Hash() {
		t.Fatalf("%d chunks, root %s, %v", len(chunks), root, err)
	}
	_, chunks, err = Build(testRoom, append(basics(), members(12)...))
	if err != nil || len(chunks) != 3 {
		t.Fatalf("12 members: %d chunks, %v; want root and two leaves", len(chunks), err)
	}
}

// randomStep changes the model and returns the changes that do the same.
func randomStep(r *rand.Rand, model map[Key]string, keys []Key, most int) []Entry {
	var changes []Entry
	remove := r.Float64() // some steps mostly remove, some mostly add
	for range 1 + r.IntN(most) {
		k := keys[r.IntN(len(keys))]
		if r.Float64() < remove {
			delete(model, k)
			changes = append(changes, Entry{Key: k})
			continue
		}
		id := eventID(r.Uint64())
		if r.IntN(8) == 0 {
			id = fmt.Sprintf("$%d:%s", r.Uint64(), strings.Repeat("h", r.IntN(1000)))
		}
		model[k] = id
		changes = append(changes, Entry{k, id})
	}
	return changes
}

func testKeys(n int) []Key {
	var keys []Key
	for i := range n {
		switch i % 4 {
		case 0:
			keys = append(keys, Key{"m.space.child", fmt.Sprintf("!r%d:example.org", i)})
		case 1:
			keys = append(keys, Key{fmt.Sprintf("org.example.%d", i%13), fmt.Sprint(i)})
		default:
			keys = append(keys, member(i).Key)
		}
	}
	return keys
}

func TestRootDependsOnlyOnTheState(t *testing.T) {
	for _, size := range []int{1, 3, 10, 40, 200, 2000} {
		r := rand.New(rand.NewPCG(1, uint64(size)))
		keys := testKeys(size)
		model, m, root := map[Key]string{}, Memory{}, Root{}
		for step := range 150 {
			root = update(t, m, root, randomStep(r, model, keys, 1+size/3)...)
			want, _ := build(t, entriesOf(model))
			if root != want {
				t.Fatalf("%d keys, step %d: root %s, built at once %s", size, step, root, want)
			}
			if step%10 == 0 && !maps.Equal(content(t, m, root, WalkAll), model) {
				t.Fatalf("%d keys, step %d: the content is not the model", size, step)
			}
		}
		for _, e := range entriesOf(model) {
			root = update(t, m, root, Entry{Key: e.Key})
			delete(model, e.Key)
			if want, _ := build(t, entriesOf(model)); len(model) < 40 && root != want {
				t.Fatalf("%d keys, %d left: root %s, want %s", size, len(model), root, want)
			}
		}
		if !root.IsZero() {
			t.Fatalf("empty state has root %s", root)
		}
	}
}

func FuzzRootDependsOnlyOnTheState(f *testing.F) {
	f.Add(uint64(1), []byte{1, 2, 3, 131, 4, 5, 132})
	f.Add(uint64(2), slices.Repeat([]byte{9, 200, 30, 130, 77}, 8))
	f.Fuzz(func(t *testing.T, seed uint64, steps []byte) {
		if len(steps) > 40 { // a step costs about a millisecond
			return
		}
		r := rand.New(rand.NewPCG(seed, 0))
		keys := testKeys(120)
		model, m, root := map[Key]string{}, Memory{}, Root{}
		for _, b := range steps {
			before, old := maps.Clone(model), root
			root = update(t, m, root, randomStep(r, model, keys[:1+int(b)%len(keys)], 1+int(b)/8)...)
			checkDiff(t, m, old, root, before, model)
		}
		if want, _ := build(t, entriesOf(model)); root != want {
			t.Fatalf("root %s, built at once %s", root, want)
		}
	})
}

func FuzzDecodeDoesNotPanic(f *testing.F) {
	root, m := build(f, append(basics(), members(300)...))
	_ = root
	for _, data := range m {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sum := sha256.Sum256(data)
		m := Memory{Hash(sum[:24]): data}
		err := Walk(ctx, m, testRoom, Root(sum), WalkAll, func(Entry) bool { return true })
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrMissing) {
			t.Fatal(err)
		}
		Reachable(ctx, m, Root(sum), func(Hash) bool { return true })
		Update(ctx, m, testRoom, Root(sum), []Entry{member(0), {Key: member(1).Key}})
	})
}

func naiveDiff(a, b map[Key]string) []Change {
	var changes []Change
	for k, old := range a {
		if b[k] != old {
			changes = append(changes, Change{k, old, b[k]})
		}
	}
	for k, now := range b {
		if _, ok := a[k]; !ok {
			changes = append(changes, Change{Key: k, New: now})
		}
	}
	slices.SortFunc(changes, func(x, y Change) int {
		if c := strings.Compare(x.Type, y.Type); c != 0 {
			return c
		}
		return strings.Compare(x.StateKey, y.StateKey)
	})
	return changes
}

func checkDiff(t *testing.T, l Loader, a, b Root, am, bm map[Key]string) {
	t.Helper()
	got, err := Diff(ctx, l, testRoom, a, b)
	if err != nil {
		t.Fatal(err)
	}
	if want := naiveDiff(am, bm); !slices.Equal(got, want) {
		t.Fatalf("%d changes, want %d:\n%v\n%v", len(got), len(want), got, want)
	}
}

func TestDiffIsTheDifferenceOfTheMaps(t *testing.T) {
	for _, size := range []int{2, 20, 100, 1500} {
		r := rand.New(rand.NewPCG(2, uint64(size)))
		keys := testKeys(size)
		model, m := map[Key]string{}, Memory{}
		roots, models := []Root{{}}, []map[Key]string{{}}
		for range 12 {
			roots = append(roots, update(t, m, roots[len(roots)-1], randomStep(r, model, keys, size)...))
			models = append(models, maps.Clone(model))
		}
		for i := range roots {
			for j := range roots {
				checkDiff(t, m, roots[i], roots[j], models[i], models[j])
			}
		}
	}
}

func TestDiffCostsWhatDiffers(t *testing.T) {
	root, m := build(t, append(basics(), members(20000)...))
	next := update(t, m, root, Entry{member(77).Key, eventID("new")}, member(30000))
	c := &counter{Memory: m}
	changes, err := Diff(ctx, c, testRoom, root, next)
	if err != nil || len(changes) != 2 {
		t.Fatalf("%v, %v", changes, err)
	}
	if c.loads > 5 || c.chunks > 16 {
		t.Errorf("%d loads of %d chunks for two changes", c.loads, c.chunks)
	}
	c.reset()
	if _, err := Diff(ctx, c, testRoom, root, root); err != nil || c.loads != 0 {
		t.Errorf("equal roots: %d loads, %v", c.loads, err)
	}
}

func TestLookupLoadsOncePerLevel(t *testing.T) {
	for _, c := range []struct{ members, loads int }{{0, 1}, {3, 1}, {12, 2}, {1000, 3}, {30000, 4}} {
		root, m := build(t, append(basics(), members(c.members)...))
		count := &counter{Memory: m}
		keys := []Key{{"m.room.create", ""}, {"m.room.power_levels", ""}, {"m.room.absent", ""}, {memberType, "@nobody:nowhere"}}
		for i := range min(c.members, 50) {
			keys = append(keys, member(i).Key)
		}
		got, err := Lookup(ctx, count, testRoom, root, keys)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(keys)-2 || got[Key{"m.room.create", ""}] != eventID("m.room.create") {
			t.Errorf("%d members: found %d of %d keys", c.members, len(got), len(keys)-2)
		}
		for i := range min(c.members, 50) {
			if got[member(i).Key] != member(i).EventID {
				t.Errorf("%d members: wrong event for member %d", c.members, i)
			}
		}
		if count.loads > c.loads {
			t.Errorf("%d members: %d loads for all, want at most %d", c.members, count.loads, c.loads)
		}
		count.reset()
		if _, err := Lookup(ctx, count, testRoom, root, keys[:3]); err != nil || count.chunks > 2 {
			t.Errorf("%d members: non-member state takes %d chunks, %v; want at most 2", c.members, count.chunks, err)
		}
	}
	if got, err := Lookup(ctx, nil, testRoom, Root{}, []Key{{"m.room.create", ""}}); err != nil || len(got) != 0 {
		t.Errorf("empty state: %v, %v", got, err)
	}
}

func TestChangesThatChangeNothingKeepTheRoot(t *testing.T) {
	for _, n := range []int{2, 500} {
		root, m := build(t, append(basics(), members(n)...))
		next, chunks, err := Update(ctx, m, testRoom, root, []Entry{member(1), {Key: Key{"m.absent", ""}}, {Key: member(9999).Key}})
		if err != nil || next != root || chunks != nil {
			t.Errorf("%d members: %d chunks, %v", n, len(chunks), err)
		}
	}
}

func TestLastChangeOfAKeyCounts(t *testing.T) {
	want, _ := build(t, []Entry{member(1)})
	got, _ := build(t, []Entry{{member(1).Key, eventID("first")}, {Key: member(2).Key, EventID: "$x"}, member(1), {Key: member(2).Key}})
	if got != want {
		t.Errorf("root %s, want %s", got, want)
	}
}

func TestWalkFiltersAndStops(t *testing.T) {
	for _, n := range []int{2, 12, 3000} {
		all := append(basics(), members(n)...)
		root, m := build(t, all)
		c := &counter{Memory: m}
		if got := content(t, c, root, WalkMembers); len(got) != n {
			t.Errorf("%d members, want %d", len(got), n)
		}
		c.reset()
		if got := content(t, c, root, WalkNonMembers); len(got) != len(basics()) || c.chunks > 2 {
			t.Errorf("%d non-members from %d chunks", len(got), c.chunks)
		}
		c.reset()
		if got := content(t, c, root, WalkAll); len(got) != len(all) || c.chunks != len(m) {
			t.Errorf("%d entries from %d chunks, want %d from %d", len(got), c.chunks, len(all), len(m))
		}
		if c.loads > 4+len(m)/32 {
			t.Errorf("%d members: %d loads for %d chunks", n, c.loads, c.chunks)
		}
		seen := 0
		Walk(ctx, m, testRoom, root, WalkAll, func(Entry) bool { seen++; return seen < 2 })
		if seen != 2 {
			t.Errorf("Walk went on to %d entries after it was stopped", seen)
		}
	}
}

func TestReachableIsWhatTheStateNeeds(t *testing.T) {
	var many []Entry
	for i := range 200 {
		many = append(many, Entry{Key{"m.space.child", fmt.Sprint(i)}, eventID(i)})
	}
	for _, entries := range [][]Entry{nil, basics(), many, members(500), append(many, members(12)...), append(many, members(5000)...)} {
		root, m := build(t, entries)
		c := &counter{Memory: m}
		seen := map[Hash]bool{}
		if err := Reachable(ctx, c, root, func(h Hash) bool { seen[h] = true; return true }); err != nil {
			t.Fatal(err)
		}
		if len(seen) != len(m) {
			t.Fatalf("%d entries: %d chunks reachable, %d written", len(entries), len(seen), len(m))
		}
		for h := range m {
			if !seen[h] {
				t.Fatalf("chunk %s is not reachable", h)
			}
		}
		nodes := 0
		for h := range m {
			if m[h][0] != kindLeaf || h == root.Hash() {
				nodes++
			}
		}
		if c.chunks != nodes {
			t.Errorf("%d entries: read %d chunks, want the %d that are not leaves", len(entries), c.chunks, nodes)
		}

		// A second root costs only what it does not share with the first.
		next := update(t, m, root, Entry{Key{memberType, "@new:example.org"}, eventID("new")})
		c.reset()
		if err := Reachable(ctx, c, next, func(h Hash) bool {
			fresh := !seen[h]
			seen[h] = true
			return fresh
		}); err != nil || c.chunks > 4 {
			t.Errorf("%d entries: the next root takes %d chunks, %v", len(entries), c.chunks, err)
		}
		if len(seen) != len(m) {
			t.Errorf("%d of %d chunks marked from both roots", len(seen), len(m))
		}
	}
}

func TestCorruptChunksAreRefused(t *testing.T) {
	root, m := build(t, append(basics(), members(200)...))
	for h, data := range m {
		for name, bad := range map[string][]byte{"flipped": slices.Concat(data[:len(data)-1], []byte{data[len(data)-1] ^ 1}), "cut": data[:len(data)/2], "empty": {}} {
			broken := maps.Clone(m)
			broken[h] = bad
			err := Walk(ctx, broken, testRoom, root, WalkAll, func(Entry) bool { return true })
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), h.String()) {
				t.Errorf("%s: %v", name, err)
			}
		}
		broken := maps.Clone(m)
		delete(broken, h)
		err := Walk(ctx, broken, testRoom, root, WalkAll, func(Entry) bool { return true })
		if !errors.Is(err, ErrMissing) {
			t.Errorf("missing: %v", err)
		}
	}

	// The root is checked to its last byte, of which its address has only 24.
	other := root
	other[31] ^= 1
	if _, err := Lookup(ctx, m, testRoom, other, []Key{member(1).Key}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("root with a changed end: %v", err)
	}
	if _, err := Lookup(ctx, m, "!other:example.org", root, []Key{member(1).Key, {"m.room.create", ""}}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another room's id: %v", err)
	}
}

// Chunks that hash to their addresses but hang in the wrong place.
func TestMisplacedLeavesAreRefused(t *testing.T) {
	forge := func(others, members *tree) (Root, Memory) {
		var chunks []Chunk
		data := encodeRoot(others, members, &chunks)
		root := Root(sha256.Sum256(data))
		m := Memory{}
		m.Add(append(chunks, Chunk{root.Hash(), data}))
		return root, m
	}
	leaf := func(e Entry) *tree { return &tree{leaf: true, items: sortItems(testRoom, []Entry{e})} }
	node := func(shift int) *tree {
		t := &tree{kids: new([fanout]*tree)}
		kid := leaf(member(1))
		t.kids[(kid.items[0].path.slot(0)+shift)%fanout] = kid
		return t
	}
	for name, c := range map[string]struct {
		others, members *tree
		room            string
		bad             bool
	}{
		"right place":             {nil, node(0), testRoom, false},
		"next slot":               {nil, node(1), testRoom, true},
		"another room":            {nil, node(0), "!other:example.org", true},
		"member among the others": {leaf(member(1)), nil, testRoom, true},
		"other among the members": {nil, leaf(basics()[0]), testRoom, true},
	} {
		root, m := forge(c.others, c.members)
		err := Walk(ctx, m, c.room, root, WalkAll, func(Entry) bool { return true })
		if errors.Is(err, ErrCorrupt) != c.bad || err != nil && !c.bad {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoaderErrorsComeThrough(t *testing.T) {
	root, _ := build(t, members(50))
	broken := errors.New("no disk")
	_, err := Lookup(ctx, failing{broken}, testRoom, root, []Key{member(1).Key})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Load(context.Context, []Hash) (map[Hash][]byte, error) { return nil, f.err }

func TestKeysWithZeroBytesDoNotShareAPath(t *testing.T) {
	a, b := Key{"a\x00b", "c"}, Key{"a", "b\x00c"}
	if pathOf(testRoom, a) == pathOf(testRoom, b) {
		t.Error("paths are equal")
	}
}

func TestSlots(t *testing.T) {
	p := pathOf(testRoom, Key{"a", "b"})
	var q path
	for d := range maxDepth {
		q.setSlot(d, p.slot(d))
	}
	p[31] &^= 1 // the bit that no level uses
	if p != q {
		t.Errorf("%x, want %x", q, p)
	}
}

func TestNamesOfHashesComeBackTheSame(t *testing.T) {
	root, _ := build(t, members(1))
	if r, err := ParseRoot(root.String()); err != nil || r != root {
		t.Errorf("%s: %s, %v", root, r, err)
	}
	if h, err := ParseHash(root.Hash().String()); err != nil || h != root.Hash() || len(h.String()) != 32 {
		t.Errorf("%s: %s, %v", root.Hash(), h, err)
	}
	for _, s := range []string{"", "zz", strings.Repeat("!", 32)} {
		if _, err := ParseHash(s); err == nil {
			t.Errorf("%q is taken for a chunk address", s)
		}
		if _, err := ParseRoot(s); err == nil {
			t.Errorf("%q is taken for a root", s)
		}
	}
}

func TestChainOfUpdatesInMemory(t *testing.T) {
	root, stored := build(t, append(basics(), members(100)...))
	fresh := Memory{}
	l := fresh.Over(stored)
	for i := 100; i < 120; i++ {
		next, chunks, err := Update(ctx, l, testRoom, root, []Entry{member(i)})
		if err != nil {
			t.Fatal(err)
		}
		fresh.Add(chunks)
		root = next
	}
	if want, _ := build(t, append(basics(), members(120)...)); root != want {
		t.Errorf("root %s, want %s", root, want)
	}
}
