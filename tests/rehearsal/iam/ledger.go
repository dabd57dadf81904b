package iam

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A Role is what has policies.
type Role struct {
	ARN        string
	ID         string   // the logical id in its template
	Trusts     []string // the services that may act as it, such as lambda.amazonaws.com
	Statements []Statement
}

// A Use is one action on one resource that a statement of a role is about, as
// the statement writes them, and how often it was what allowed a request.
type Use struct {
	Role      string // the ARN
	Statement int    // its number, from 0
	Action    string
	Resource  string
	Hits      int
}

// String writes the use as one line.
func (u Use) String() string {
	return fmt.Sprintf("%s statement %d: %s on %s: %d hits", u.Role[strings.LastIndexByte(u.Role, '/')+1:], u.Statement+1, u.Action, u.Resource, u.Hits)
}

// A Denied is the error of a request that is not allowed.
type Denied struct {
	Principal string // the ARN of who asked
	Request   Request
	Explicit  bool // by a statement that says so
}

// Error is the sentence of AWS.
func (d *Denied) Error() string {
	why := "because no identity-based policy allows the " + d.Request.Action + " action"
	if d.Explicit {
		why = "with an explicit deny in an identity-based policy"
	}
	return fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s", d.Principal, d.Request.Action, d.Request.Resource, why)
}

// A Ledger decides for roles, and remembers what they needed. It is safe for
// concurrent use.
type Ledger struct {
	mu      sync.Mutex
	roles   map[string]Role
	hits    map[Use]int
	denials []*Denied
	asked   map[string]Asked
}

// Asked is a request that a role made, whatever came of it.
type Asked struct {
	Role    string // the ARN
	Request Request
	Times   int
}

// NewLedger returns a ledger of these roles.
func NewLedger(roles ...Role) *Ledger {
	l := &Ledger{roles: map[string]Role{}, hits: map[Use]int{}, asked: map[string]Asked{}}
	for _, r := range roles {
		l.roles[r.ARN] = r
	}
	return l
}

// Roles returns the ARNs of all roles, sorted.
func (l *Ledger) Roles() []string { return slices.Sorted(maps.Keys(l.roles)) }

// Check decides whether the role may do what the principal asks for: nil, or a
// *Denied, which is remembered. Of several statements that allow it, the first
// counts as hit, so that one which only repeats another is never hit.
func (l *Ledger) Check(role, principal string, r Request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := fmt.Sprint(role, r)
	a := l.asked[key]
	l.asked[key] = Asked{role, r, a.Times + 1}
	use, denied := l.decide(role, r)
	if denied != nil {
		denied.Principal = principal
		l.denials = append(l.denials, denied)
		return denied
	}
	l.hits[use]++
	return nil
}

// May decides as Check does, and remembers nothing.
func (l *Ledger) May(role string, r Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, denied := l.decide(role, r)
	return denied == nil
}

func (l *Ledger) decide(role string, r Request) (use Use, denied *Denied) {
	allowed := false
	for i, st := range l.roles[role].Statements {
		action, resource, ok := st.match(r)
		switch {
		case ok && st.Deny:
			l.hits[Use{Role: role, Statement: i, Action: action, Resource: resource}]++
			return Use{}, &Denied{Request: r, Explicit: true}
		case ok && !allowed:
			allowed, use = true, Use{Role: role, Statement: i, Action: action, Resource: resource}
		}
	}
	if !allowed {
		return Use{}, &Denied{Request: r}
	}
	return use, nil
}

// Denials returns what was denied so far.
func (l *Ledger) Denials() []*Denied {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.denials)
}

// Asked returns every distinct request so far, in no order.
func (l *Ledger) Asked() []Asked {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.asked))
}

// Uses returns every action on every resource of all statements, with its hits.
func (l *Ledger) Uses() []Use {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Use
	for arn, role := range l.roles {
		for i, st := range role.Statements {
			for _, action := range st.Actions {
				for _, resource := range st.Resources {
					u := Use{Role: arn, Statement: i, Action: action, Resource: resource}
					u.Hits = l.hits[u]
					all = append(all, u)
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Statement, b.Statement), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Action, b.Action))
	})
	return all
}

// Unused returns the uses without hits.
func (l *Ledger) Unused() []Use {
	return slices.DeleteFunc(l.Uses(), func(u Use) bool { return u.Hits > 0 })
}

// UnusedResources returns the resources of statements that no action of the
// statement was allowed on, each with the actions joined: grants that nobody
// needs. A grant to write has several actions, and few who hold it need all.
func (l *Ledger) UnusedResources() []Use {
	return l.unusedBy(func(u Use) Use { return Use{Role: u.Role, Statement: u.Statement, Resource: u.Resource} })
}

// UnusedActions returns the actions of the statements of all roles that nothing
// was allowed by, each with the first use of it.
func (l *Ledger) UnusedActions() []Use {
	return l.unusedBy(func(u Use) Use { return Use{Action: strings.ToLower(u.Action)} })
}

func (l *Ledger) unusedBy(key func(Use) Use) []Use {
	sum := map[Use]*Use{}
	var order []Use
	for _, u := range l.Uses() {
		k := key(u)
		s := sum[k]
		if s == nil {
			s = &u
			sum[k] = s
			order = append(order, k)
			continue
		}
		s.Hits += u.Hits
		if k.Action == "" {
			s.Action += " " + u.Action
		}
	}
	var unused []Use
	for _, k := range order {
		if sum[k].Hits == 0 {
			unused = append(unused, *sum[k])
		}
	}
	return unused
}
