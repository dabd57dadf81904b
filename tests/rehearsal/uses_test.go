package rehearsal

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-im/virga/tests/rehearsal/iam"
	"github.com/virga-im/virga/tests/rehearsal/template"
)

// uses is what the stories of this process asked the roles of their stacks for.
// The stacks differ in their environment alone, so their roles are the same.
var uses rehearsed

type rehearsed struct {
	told   sync.Once // the stories and the rare acts
	mu     sync.Mutex
	asked  []iam.Asked
	denied []*iam.Denied
	stacks int
}

// finish lets the workers do what a story caused, and remembers what it needed.
func (r *rehearsed) finish(t *testing.T, s *Stack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, function := range slices.Sorted(slices.Values(s.Rules())) {
		if err := s.Fire(ctx, function); err != nil {
			t.Errorf("%s: %v", function, err)
		}
	}
	if err := s.Settle(ctx); err != nil {
		t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, s.Services.Ledger.Asked()...)
	r.denied = append(r.denied, s.Services.Ledger.Denials()...)
	r.stacks++
}

// all returns the ledger of a stack that was asked for all that the stories and
// the rare acts asked for. It tells the stories if nobody has.
func (r *rehearsed) all(t *testing.T) (*template.Template, []iam.Asked) {
	t.Helper()
	r.told.Do(func() {
		if r.stacks == 0 {
			t.Run("stories", TestStoriesHoldInTheDeployedShape)
		}
		t.Run("rare", func(t *testing.T) {
			for _, a := range rare {
				t.Run(a.name, func(t *testing.T) {
					t.Parallel()
					a.play(t)
				})
			}
		})
	})
	tm := Read(t, map[string]string{"serverName": ServerName, "arch": "host", "registration": "open", "rateLimits": "off", "presence": "off"})
	r.mu.Lock()
	defer r.mu.Unlock()
	return tm, slices.Clone(r.asked)
}

// unreachable reports what takes more than a test has, and is proven elsewhere: that
// the provider goes on in another run when the time of one is up (shared/aws), and
// what a device that has rested for hours does about rooms that are pulled
// (tests/grants).
func unreachable(u iam.Use) bool {
	return u.Action == "lambda:InvokeFunction" && strings.HasSuffix(u.Resource, "_provider") ||
		strings.Contains(u.Role, "HoldRequests") && (strings.HasSuffix(u.Resource, "_server") || u.Action == "sqs:SendMessage" && strings.HasSuffix(u.Resource, "_wait_*"))
}

// TestEveryStatementIsHit proves that roles allow what the stories need, that
// nothing which they allow is needless, and that all of it is in the stack.
func TestEveryStatementIsHit(t *testing.T) {
	tm, asked := uses.all(t)
	for _, d := range uses.denied {
		t.Error(d)
	}
	f, err := iam.Judge(tm, asked)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Denied {
		t.Error(d)
	}
	for _, o := range f.Outside {
		t.Error(o)
	}
	for _, u := range f.Unused {
		if !unreachable(u) {
			t.Error(u)
		}
	}
	sum := map[string]int{}
	for _, a := range asked {
		sum[a.Request.Action] += a.Times
	}
	for _, action := range slices.Sorted(maps.Keys(sum)) {
		t.Logf("%8d %s", sum[action], action)
	}
}

// TestMutationsAreNoticed makes seeded mistakes in the roles, and asks them for
// what the stories asked for: each must be found.
func TestMutationsAreNoticed(t *testing.T) {
	tm, asked := uses.all(t)
	before, err := iam.Judge(tm, asked)
	if err != nil {
		t.Fatal(err)
	}
	roles, err := iam.Roles(tm)
	if err != nil {
		t.Fatal(err)
	}
	l := iam.NewLedger(roles...)
	for _, a := range asked {
		_ = l.Check(a.Role, a.Role, a.Request) // judged before
	}
	asked = l.Asked() // once each
	for _, m := range iam.Mutations {
		for seed := range uint64(20) {
			mutant, what, err := m.Apply(tm, l, seed)
			if err != nil {
				t.Fatal(err)
			}
			after, err := iam.Judge(mutant, asked)
			if err != nil {
				t.Fatal(err)
			}
			if after.Count() <= before.Count() {
				t.Errorf("%s: %s: nobody notices", m.Name, what)
			}
			if seed == 0 {
				t.Logf("%s: %s: %d requests are denied, %d resources are of no use, %d are outside", m.Name, what, len(after.Denied), len(after.Unused), len(after.Outside))
			}
		}
	}
}
