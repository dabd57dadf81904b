package receipt_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/receipt"
)

// repeated is n items with a comma between them, each made of its number.
func repeated(n int, item string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = strings.ReplaceAll(item, "#", fmt.Sprintf("%06d", n-i)) // against the order that is canonical
	}
	return strings.Join(all, ",")
}

// Others choose what an event holds, up to 64 KiB. Whatever it is, four times as
// much is about four times the work: counted in bytes allocated, for there is no
// loop over an event here that does not build something.
func TestWorkGrowsWithTheEvent(t *testing.T) {
	if raced {
		t.Skip("what is allocated depends on what pools forget")
	}
	bob := "@bob:b.org"
	for name, content := range map[string]func(n int) (typ, key, content string){
		"keys": func(n int) (string, string, string) {
			return "m.x", bob, `{` + repeated(n, `"k#":1`) + `}`
		},
		"nested objects": func(n int) (string, string, string) {
			n /= 4
			return "m.x", bob, strings.Repeat(`{"b":1,"a":`, n) + `1` + strings.Repeat(`}`, n)
		},
		"nested arrays": func(n int) (string, string, string) {
			n /= 4
			return "m.x", bob, `{"a":` + strings.Repeat(`[`, n) + strings.Repeat(`]`, n) + `}`
		},
		"long keys that are alike": func(n int) (string, string, string) {
			return "m.x", bob, `{` + repeated(n/40+1, `"`+strings.Repeat("x", 400)+`#":1`) + `}`
		},
		"escapes": func(n int) (string, string, string) {
			return "m.x", bob, `{"a":"` + strings.Repeat(`\u00e9`, n) + `"}`
		},
		"users": func(n int) (string, string, string) {
			return "m.room.power_levels", "", `{"users":{` + repeated(n/2, `"@u#:b.org":0`) + `}}`
		},
		"event levels": func(n int) (string, string, string) {
			return "m.room.power_levels", "", `{"events":{` + repeated(n, `"m.#":0`) + `}}`
		},
		"signatures of a third-party invite": func(n int) (string, string, string) {
			return "m.room.member", "@carol:c.org", `{"membership":"invite","third_party_invite":{"signed":{"mxid":"@carol:c.org","token":"t","signatures":{` +
				repeated(n/16+1, `"#":{"ed25519:1":"`+strings.Repeat("A", 86)+`"}`) + `}}}}`
		},
		"public keys": func(n int) (string, string, string) {
			return "m.room.third_party_invite", "t", `{"public_keys":[` + repeated(n/8+1, `{"public_key":"`+strings.Repeat("A", 43)+`"}`) + `]}`
		},
	} {
		for _, version := range []string{"1", "12"} {
			w := newWorld(t, version)
			cost := func(n int) float64 {
				typ, key, c := content(n)
				sender := bob
				if typ == "m.room.power_levels" {
					sender = alice
				}
				e := w.build(&pdu.Builder{Type: typ, StateKey: &key, Sender: sender, Content: json.RawMessage(c)})
				evidence := w.evidence()
				return allocated(func() {
					r, err := w.receive(e.JSON())
					if err != nil {
						t.Fatal(err)
					}
					r.Judge(evidence)
					if _, err := pdu.Redact(w.v, e.JSON()); err != nil {
						t.Fatal(err)
					}
				})
			}
			const n = 800
			if small, large := cost(n), cost(4*n); large > 8*small { // 16 times if it were the square
				t.Errorf("version %s, %s: %.0f bytes, and %.0f for four times as many", w.v.ID, name, small, large)
			}
		}
	}
}

// allocated is how many bytes f allocates, the least of some runs. Each begins
// with empty pools, or else what one run leaves to the next decides.
func allocated(f func()) float64 {
	least := ^uint64(0)
	for range 6 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.GC() // what the first leaves in a sync.Pool, the second takes
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return float64(least)
}

// counted counts what is looked up.
type counted struct {
	auth.State
	lookups int
}

func (c *counted) Lookup(k auth.Key) *auth.View {
	c.lookups++
	return c.State.Lookup(k)
}

func TestRulesLookUpAHandfulOfState(t *testing.T) {
	everyVersion(t, func(w *world) {
		key := bob
		for _, content := range []string{`{"membership":"join"}`, `{"membership":"leave"}`, `{"users":{` + repeated(500, `"@u#:b.org":0`) + `}}`} {
			for _, typ := range []string{"m.room.member", "m.room.power_levels", "m.x"} {
				e := w.build(&pdu.Builder{Type: typ, StateKey: &key, Sender: id.User("bob", "b.org"), Content: json.RawMessage(content)})
				state := &counted{State: w.state}
				w.received(e.JSON()).JudgePast(w.cited, state)
				if state.lookups > 16 {
					t.Errorf("version %s, %s: %d lookups", w.v.ID, typ, state.lookups)
				}
			}
		}
	})
}

func BenchmarkReceive(b *testing.B) {
	w := newWorld(b, "12")
	e, evidence := w.message(), w.evidence()
	u, err := receipt.Parse(w.v, w.room, e.JSON())
	if err != nil {
		b.Fatal(err)
	}
	keys := keysFor(u)
	b.ReportAllocs()
	for b.Loop() {
		u, err := receipt.Parse(w.v, w.room, e.JSON())
		if err != nil {
			b.Fatal(err)
		}
		r, err := u.Verify(keys, now)
		if err != nil {
			b.Fatal(err)
		}
		if v := r.Judge(evidence); v.Outcome != receipt.Accepted {
			b.Fatal(v)
		}
	}
}
