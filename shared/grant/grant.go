// Package grant says what a function may touch.
//
// A route or worker declares a Set. The local adapters check it on every call
// as IAM would, and record what was used; infra/aws turns the same Set into an
// IAM role. Domains export the sets of their operations, so that distinct sets,
// and with them roles, stay few.
package grant

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Action is what a grant allows on a resource.
type Action string

// The actions. On a table Read covers get, batch get and query, and Write
// covers put, update, delete and condition checks in transactions. On the
// bucket Read and Write are for a prefix. On a queue only Send exists: the
// worker that a queue triggers receives through its trigger. Requests wait by
// Hold, and are woken by Wake.
const (
	Read  Action = "read"
	Write Action = "write"
	Send  Action = "send"
	Wake  Action = "wake"
	Hold  Action = "hold"
)

// Kind is the sort of resource that a grant is about.
type Kind string

// The kinds of resources.
const (
	Table Kind = "table"
	Queue Kind = "queue"
	Blob  Kind = "blob"
	// Wait is the waiting of requests (see shared/wake), of which there is one.
	Wait Kind = "wait"
)

// Waits is the name of the one resource of the kind Wait.
const Waits = "requests"

// A Grant allows one action on one resource. The zero value allows nothing.
type Grant struct {
	Kind   Kind
	Name   string // table or queue name, or blob key prefix
	Action Action
}

// String returns the grant as it is printed in tables and errors, such as
// "table:rooms:write".
func (g Grant) String() string { return string(g.Kind) + ":" + g.Name + ":" + string(g.Action) }

// A Set is a sorted list of distinct grants. The zero value allows nothing.
type Set []Grant

// Of returns the union of sets.
func Of(sets ...Set) Set {
	var all Set
	for _, s := range sets {
		all = append(all, s...)
	}
	slices.SortFunc(all, func(a, b Grant) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// ReadTable allows reads of the named tables.
func ReadTable(names ...string) Set { return tables(Read, names) }

// WriteTable allows writes of the named tables, and no reads.
func WriteTable(names ...string) Set { return tables(Write, names) }

func tables(a Action, names []string) Set {
	var s Set
	for _, n := range names {
		s = append(s, Grant{Table, n, a})
	}
	return Of(s)
}

// SendTo allows sending to the named queue.
func SendTo(queue string) Set { return Set{{Queue, queue, Send}} }

// ReadBlobs and WriteBlobs allow access to the keys that start with prefix.
func ReadBlobs(prefix string) Set { return Set{{Blob, prefix, Read}} }

// WriteBlobs allows puts and deletes of the keys that start with prefix.
func WriteBlobs(prefix string) Set { return Set{{Blob, prefix, Write}} }

// Wakes allows to wake requests that wait, and Holds to let them wait.
func Wakes() Set { return Set{{Wait, Waits, Wake}} }

// Holds allows to let requests wait. Every route that polls has it.
func Holds() Set { return Set{{Wait, Waits, Hold}} }

// Allows reports whether the set holds the grant. A blob grant allows every key
// that starts with its name.
func (s Set) Allows(g Grant) bool {
	for _, have := range s {
		if have.covers(g) {
			return true
		}
	}
	return false
}

func (g Grant) covers(want Grant) bool {
	if g.Kind != want.Kind || g.Action != want.Action {
		return false
	}
	if g.Kind == Blob {
		return strings.HasPrefix(want.Name, g.Name)
	}
	return g.Name == want.Name
}

// String lists the grants separated by spaces.
func (s Set) String() string {
	var parts []string
	for _, g := range s {
		parts = append(parts, g.String())
	}
	return strings.Join(parts, " ")
}

// Denied is the error of a call that no grant in the context allows.
type Denied struct {
	Holder string // the route or worker
	Grant  Grant
}

// Error names the holder and the grant to add to its Uses.
func (d *Denied) Error() string {
	return fmt.Sprintf("%s may not %s %s %q: add the grant to its Uses", d.Holder, d.Grant.Action, d.Grant.Kind, d.Grant.Name)
}

type holderKey struct{}

type holder struct {
	name string
	set  Set
	rec  *Recorder
}

// With returns a context that holds the grants of the named route or worker,
// replacing what ctx held. The recorder may be nil.
func With(ctx context.Context, name string, set Set, rec *Recorder) context.Context {
	return context.WithValue(ctx, holderKey{}, &holder{name, set, rec})
}

// Holder returns the name of the route or worker whose grants ctx holds.
func Holder(ctx context.Context) string {
	if h, ok := ctx.Value(holderKey{}).(*holder); ok {
		return h.name
	}
	return "nobody"
}

// Check returns nil if ctx holds a grant that allows the action, and a *Denied
// otherwise. A context without grants is denied everything. Use and denial are
// recorded.
func Check(ctx context.Context, kind Kind, name string, action Action) error {
	want := Grant{kind, name, action}
	h, _ := ctx.Value(holderKey{}).(*holder)
	if h == nil {
		return &Denied{"a caller without grants", want}
	}
	for _, have := range h.set {
		if have.covers(want) {
			h.rec.used(h.name, have)
			return nil
		}
	}
	d := &Denied{h.name, want}
	h.rec.denied(d)
	return d
}

// A Recorder collects which grants were used and what was denied, even where a
// handler swallows the error. The zero value is ready; a nil Recorder records
// nothing. It is safe for concurrent use.
type Recorder struct {
	mu      sync.Mutex
	uses    map[string]map[Grant]int
	denials []*Denied
}

func (r *Recorder) used(name string, g Grant) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uses == nil {
		r.uses = map[string]map[Grant]int{}
	}
	if r.uses[name] == nil {
		r.uses[name] = map[Grant]int{}
	}
	r.uses[name][g]++
}

func (r *Recorder) denied(d *Denied) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.denials = append(r.denials, d)
}

// Used returns the grants that the named holder used at least once.
func (r *Recorder) Used(name string) Set {
	r.mu.Lock()
	defer r.mu.Unlock()
	var s Set
	for g := range r.uses[name] {
		s = append(s, g)
	}
	return Of(s)
}

// Denials returns what was denied so far.
func (r *Recorder) Denials() []*Denied {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.denials)
}
