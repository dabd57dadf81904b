package oracle

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/tests/oracle/room"
)

var (
	seed   = flag.Uint64("seed", 1, "of the random inputs")
	update = flag.Bool("update", false, "write the table of divergences in events/README.md")
	survey = flag.Bool("survey", false, "list unlisted divergences by kind instead of stopping at the first few")
)

const (
	gmsl    = "gomatrixserverlib"
	mautrix = "mautrix-go"
)

// An outcome is what one of us says about an input: refused, or a value.
type outcome struct {
	value string
	err   error
	panic bool
}

func accepted(value string) outcome { return outcome{value: value} }
func refused(err error) outcome     { return outcome{err: err} }
func outcomeOf(err error) outcome   { return outcome{err: err} }
func (o outcome) ok() bool          { return o.err == nil }
func (o outcome) String() string {
	if o.err != nil {
		return "refused: " + o.err.Error()
	}
	return "accepted " + o.value
}

// same: both refuse, or both accept and say the same.
func (o outcome) same(other outcome) bool {
	return o.ok() == other.ok() && o.value == other.value && !other.panic
}

// safely turns a panic of a library into an outcome.
func safely(ask func() outcome) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			o = outcome{err: fmt.Errorf("panic: %v", p), panic: true}
		}
	}()
	return ask()
}

// A comparison is one input and what two of us said about it.
type comparison struct {
	area, library string
	v             *roomversion.Version
	ours, theirs  outcome

	// What the input was; only what belongs to the area is set.
	json     []byte                   // canonical JSON, events
	mutation string                   // event format: what was done to a good event
	event    *room.Event              // authorisation, selection
	state    map[auth.Key]*room.Event // authorisation
	res      *resolution              // state resolution
}

func (c *comparison) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, version %s, %s\n  ours:   %s\n  theirs: %s\n", c.area, c.v.ID, c.library, c.ours, c.theirs)
	if c.mutation != "" {
		fmt.Fprintf(&b, "  %s\n", c.mutation)
	}
	if c.json != nil {
		fmt.Fprintf(&b, "  %.2000q\n", c.json)
	}
	if c.event != nil {
		fmt.Fprintf(&b, "  event: %s\n", c.event.JSON())
	}
	var keys []string
	for k, e := range c.state {
		keys = append(keys, fmt.Sprintf("  state: %s %q by %s %s\n", k.Type, k.StateKey, e.Sender, e.Content))
	}
	slices.Sort(keys)
	b.WriteString(strings.Join(keys, ""))
	if c.res != nil {
		b.WriteString(c.res.String())
	}
	return b.String()
}

// A ledger holds the differences in one area against the list.
type ledger struct {
	area string
	t    *testing.T

	mu       sync.Mutex
	compared int
	seen     map[*divergence]int
	unlisted map[string]int
}

func newLedger(t *testing.T, area string) *ledger {
	return &ledger{area: area, t: t, seen: map[*divergence]int{}, unlisted: map[string]int{}}
}

// add judges a comparison.
func (l *ledger) add(c *comparison) {
	c.area = l.area
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compared++
	if c.ours.same(c.theirs) {
		return
	}
	for i := range divergences {
		d := &divergences[i]
		if d.area == c.area && d.library == c.library && d.is(c) {
			l.seen[d]++
			return
		}
	}
	kind := c.kind()
	if l.unlisted[kind]++; l.unlisted[kind] == 1 && (len(l.unlisted) <= 20 || *survey) {
		l.t.Errorf("an unlisted divergence: %s\nkind: %s", c, kind)
	}
}

var names = regexp.MustCompile(`"[^"]*"|\(\$[^)]*\)|[@$!][^ ]+|-?[0-9]+`)

// kind groups differences, for whoever looks at many at once.
func (c *comparison) kind() string {
	side := func(o outcome) string {
		var rule *auth.Error
		switch {
		case o.ok():
			return "ok"
		case errors.As(o.err, &rule):
			return names.ReplaceAllString(rule.Message, "…")
		default:
			return names.ReplaceAllString(fmt.Sprintf("%.300s", o.err), "…")
		}
	}
	kind := fmt.Sprintf("%s | %s | %s | %s", c.library, c.mutation, side(c.ours), side(c.theirs))
	if c.area == selection {
		kind += names.ReplaceAllString(fmt.Sprint(c.event.Type, " ", c.ours.value, " # ", c.theirs.value), "…")
	}
	return kind
}

// close fails for listed divergences of the area that did not occur.
func (l *ledger) close() {
	l.t.Helper()
	for i := range divergences {
		if d := &divergences[i]; d.area == l.area && l.seen[d] == 0 {
			l.t.Errorf("%s no longer differs in this: %s\nIf it was mended, remove the entry.", d.library, d.what)
		}
	}
	l.t.Logf("%d comparisons", l.compared)
	if *survey {
		for kind, n := range l.unlisted {
			l.t.Logf("%6d %s", n, kind)
		}
	}
	for d, n := range l.seen {
		l.t.Logf("%6d %s: %s", n, d.library, d.what)
	}
}

// dice are the same in each run with the same seed.
type dice struct{ *rand.Rand }

func newDice(stream uint64) dice { return dice{rand.New(rand.NewPCG(*seed, stream))} }

// chance is true in one of n cases.
func (d dice) chance(n int) bool { return d.IntN(n) == 0 }

func pick[T any](d dice, from ...T) T { return from[d.IntN(len(from))] }

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}

// eachVersion runs a subtest for every room version.
func eachVersion(t *testing.T, f func(t *testing.T, v *roomversion.Version, d dice)) {
	for i, v := range roomversion.All() {
		t.Run("version "+v.ID, func(t *testing.T) { f(t, v, newDice(uint64(i))) })
	}
}
