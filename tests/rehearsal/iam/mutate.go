package iam

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/virga-im/virga/tests/rehearsal/template"
)

// A Mutation is a mistake that somebody could make in the roles of a stack, and
// that a rehearsal must notice.
type Mutation struct {
	Name   string
	places func(place) bool
	change func(*rand.Rand, place) string
}

// Mutations are the five mistakes. Those that take something away take what was
// used, since nobody can notice the loss of anything else.
var Mutations = []Mutation{
	{"an action is missing", func(p place) bool { return p.usedActions() != nil && len(p.actions()) > 1 }, removeAction},
	{"a resource is narrowed", func(p place) bool { return p.usedTables() != nil }, narrow},
	{"two tables are swapped", func(p place) bool { return p.usedTables() != nil && p.missing() != nil }, swap},
	{"a resource is everything", func(p place) bool { return len(p.resources()) > 0 && p.resources()[0] != "*" }, widen},
	{"a statement is useless", func(p place) bool { return p.missing() != nil }, addUseless},
}

// Apply makes the mistake in a copy of the template, at a place that the seed
// picks, and says what it did. The ledger is that of a run of the stack without
// mistakes.
func (m Mutation) Apply(t *template.Template, l *Ledger, seed uint64) (mutant *template.Template, what string, err error) {
	mutant, err = clone(t)
	if err != nil {
		return nil, "", err
	}
	used := map[string][]Use{}
	for _, u := range l.Uses() {
		if u.Hits > 0 {
			used[u.Role] = append(used[u.Role], u)
		}
	}
	var fit []place
	for _, id := range mutant.IDs("AWS::IAM::Role") {
		arn, err := mutant.Attribute(id, "Arn")
		if err != nil {
			return nil, "", err
		}
		n := 0
		policies, _ := mutant.Resources[id].Properties["Policies"].([]any)
		for _, policy := range policies {
			policy, _ := policy.(map[string]any)
			document, _ := policy["PolicyDocument"].(map[string]any)
			statements, _ := document["Statement"].([]any)
			for _, st := range statements {
				st, _ := st.(map[string]any)
				p := place{mutant, id, document, st, nil}
				for _, u := range used[arn.(string)] {
					if u.Statement == n {
						p.used = append(p.used, u)
					}
				}
				n++
				if m.places(p) {
					fit = append(fit, p)
				}
			}
		}
	}
	if len(fit) == 0 {
		return nil, "", fmt.Errorf("the stack %s has no place where %s", t.Stack, m.Name)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	p := fit[r.IntN(len(fit))]
	return mutant, p.role + ": " + m.change(r, p), nil
}

// A place is a statement of a role of the copy.
type place struct {
	t         *template.Template
	role      string
	policy    map[string]any
	statement map[string]any
	used      []Use // of the statement
}

func (p place) actions() []any { list, _ := p.statement["Action"].([]any); return list }

func (p place) resources() []any { list, _ := p.statement["Resource"].([]any); return list }

// usedActions returns the places in Action of those that were used.
func (p place) usedActions() (at []int) {
	for i, action := range p.actions() {
		if slices.ContainsFunc(p.used, func(u Use) bool { return u.Action == action }) {
			at = append(at, i)
		}
	}
	return at
}

// usedTables returns the places in Resource of tables that were used.
func (p place) usedTables() (at []int) {
	for i, resource := range p.resources() {
		arn, err := p.t.Resolve(resource)
		if err == nil && tableOf(resource) != "" && p.t.Resources[tableOf(resource)].Type == "AWS::DynamoDB::Table" &&
			slices.ContainsFunc(p.used, func(u Use) bool { return u.Resource == arn }) {
			at = append(at, i)
		}
	}
	return at
}

// missing returns the tables that the whole role has nothing to do with.
func (p place) missing() (ids []string) {
	text, err := json.Marshal(p.policy)
	if err != nil {
		panic(err) // it was JSON
	}
	for _, id := range p.t.IDs("AWS::DynamoDB::Table") {
		if !strings.Contains(string(text), `"`+id+`"`) {
			ids = append(ids, id)
		}
	}
	return ids
}

// tableOf returns the logical id of the resource whose ARN is meant, if any.
func tableOf(resource any) string {
	m, _ := resource.(map[string]any)
	att, _ := m["Fn::GetAtt"].([]any)
	if len(att) != 2 || att[1] != "Arn" {
		return ""
	}
	id, _ := att[0].(string)
	return id
}

func arnOf(table string) any { return map[string]any{"Fn::GetAtt": []any{table, "Arn"}} }

func pick[E any](r *rand.Rand, list []E) E { return list[r.IntN(len(list))] }

func removeAction(r *rand.Rand, p place) string {
	i := pick(r, p.usedActions())
	action := p.actions()[i]
	p.statement["Action"] = slices.Delete(p.actions(), i, i+1)
	return fmt.Sprintf("without %v", action)
}

// narrow leaves of a table one of its indexes, which none of our tables has.
func narrow(r *rand.Rand, p place) string {
	i := pick(r, p.usedTables())
	id := tableOf(p.resources()[i])
	p.resources()[i] = map[string]any{"Fn::Join": []any{"", []any{arnOf(id), "/index/none"}}}
	return "an index of " + id + " and no more"
}

func swap(r *rand.Rand, p place) string {
	i := pick(r, p.usedTables())
	id, other := tableOf(p.resources()[i]), pick(r, p.missing())
	p.resources()[i] = arnOf(other)
	return other + " in the place of " + id
}

func widen(r *rand.Rand, p place) string {
	i := r.IntN(len(p.resources()))
	was := p.resources()[i]
	p.resources()[i] = "*"
	return fmt.Sprintf("* in the place of %v", was)
}

func addUseless(r *rand.Rand, p place) string {
	table := pick(r, p.missing())
	p.policy["Statement"] = append(p.policy["Statement"].([]any), map[string]any{
		"Effect": "Allow", "Action": []any{"dynamodb:GetItem"}, "Resource": []any{arnOf(table)},
	})
	return "may read " + table + " too"
}

// clone copies a template as far as mutations change it.
func clone(t *template.Template) (*template.Template, error) {
	c := *t
	c.Resources = maps.Clone(t.Resources)
	for _, id := range t.IDs("AWS::IAM::Role") {
		r := t.Resources[id]
		text, err := json.Marshal(r.Properties)
		if err != nil {
			return nil, err
		}
		r.Properties = nil
		if err := json.Unmarshal(text, &r.Properties); err != nil {
			return nil, err
		}
		c.Resources[id] = r
	}
	return &c, nil
}

// Findings are what is wrong with the roles of a stack in the light of what was
// asked for while it ran.
type Findings struct {
	Denied  []*Denied // requests that the roles do not allow
	Unused  []Use     // of UnusedResources
	Outside []string  // of Outside
}

// Judge asks the roles of a template for everything that was asked for in a run,
// be it of the same or of another version of the stack.
func Judge(t *template.Template, asked []Asked) (f Findings, err error) {
	roles, err := Roles(t)
	if err != nil {
		return f, err
	}
	l := NewLedger(roles...)
	for _, a := range asked {
		_ = l.Check(a.Role, a.Role, a.Request) // the ledger remembers it
	}
	f.Denied, f.Unused = l.Denials(), l.UnusedResources()
	f.Outside, err = Outside(t)
	return f, err
}

// Count is how many findings there are.
func (f Findings) Count() int { return len(f.Denied) + len(f.Unused) + len(f.Outside) }
