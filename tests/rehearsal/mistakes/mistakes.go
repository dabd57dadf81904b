// Package mistakes finds what is wrong with a synthesised stack, and what neither
// the CDK nor the compiler tell: each of its rules is something that AWS refuses
// at a deploy, or accepts and then does not do.
package mistakes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/virga-im/virga/tests/rehearsal/iam"
	"github.com/virga-im/virga/tests/rehearsal/template"
)

// Find returns the mistakes of a stack, a sentence each, sorted. None is a stack
// that a deploy will probably take.
func Find(t *template.Template) []string {
	t = afterwards(t)
	f := &finder{Template: t, roles: map[string]iam.Role{}}
	roles, err := iam.Roles(t)
	if err != nil {
		f.add("the roles: %v", err)
	}
	for _, r := range roles {
		f.roles[r.ARN] = r
	}
	f.ledger = iam.NewLedger(roles...)
	f.references()
	if outside, err := iam.Outside(t); err != nil {
		f.add("the roles: %v", err)
	} else {
		for _, o := range outside {
			f.add("outside of the stack: %s", o)
		}
	}
	f.functions()
	f.sources()
	f.queues()
	f.gateways()
	f.distributions()
	slices.Sort(f.found)
	return slices.Compact(f.found)
}

// afterwards is the template as if its custom resources had run: what they answer
// is not known before.
func afterwards(t *template.Template) *template.Template {
	c, value := *t, t.Value
	c.Value = func(id, attribute string) (any, bool) {
		if value != nil {
			if v, ok := value(id, attribute); ok {
				return v, true
			}
		}
		return "made-up", attribute != "" && isCustom(c.Resources[id].Type)
	}
	return &c
}

func isCustom(typ string) bool {
	return strings.HasPrefix(typ, "Custom::") || typ == "AWS::CloudFormation::CustomResource"
}

// finder looks through one stack. What cannot be resolved is a mistake by
// references, and is left out elsewhere.
type finder struct {
	*template.Template
	roles  map[string]iam.Role
	ledger *iam.Ledger
	found  []string
}

func (f *finder) add(format string, args ...any) {
	f.found = append(f.found, fmt.Sprintf(format, args...))
}

// check adds a mistake unless it is all right.
func (f *finder) check(ok bool, format string, args ...any) {
	if !ok {
		f.add(format, args...)
	}
}

// each decodes every resource of a type.
func each[P any](f *finder, typ string, look func(id string, p P)) {
	for _, id := range f.IDs(typ) {
		var p P
		if err := f.Decode(id, &p); err != nil {
			f.add("%v", err)
			continue
		}
		look(id, p)
	}
}

// arns returns the resources of a type by an attribute.
func (f *finder) arns(typ, attribute string) map[string]string {
	found := map[string]string{}
	for _, id := range f.IDs(typ) {
		if arn, err := f.Attribute(id, attribute); err == nil {
			found[fmt.Sprint(arn)] = id
		}
	}
	return found
}

// may checks that a role allows an action, which AWS asks for when it creates
// what acts as the role.
func (f *finder) may(id, role, action, resource string) {
	f.check(f.ledger.May(role, iam.Request{Action: action, Resource: resource}), "%s: its role %s does not allow %s on %s", id, f.roles[role].ID, action, resource)
}

// trusts checks that a role of the stack lets a service act as it.
func (f *finder) trusts(id, role, service string) {
	r, ok := f.roles[role]
	f.check(ok, "%s: its role %s is not in the stack", id, role)
	f.check(!ok || slices.Contains(r.Trusts, service), "%s: its role %s does not trust %s", id, r.ID, service)
}

// references checks that everything that is referred to exists, and that nothing
// waits for itself: CloudFormation creates a resource after those that it names,
// and the CDK does not see a circle.
func (f *finder) references() {
	names := map[string]string{}
	edges := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(f.Resources)) {
		r := f.Resources[id]
		if _, err := f.Resolve(r.Properties); err != nil {
			f.add("%s: %v", id, err)
		}
		edges[id] = f.referred(r.Properties)
		for _, other := range r.DependsOn {
			_, ok := f.Resources[other]
			f.check(ok, "%s depends on %s, which the stack has not", id, other)
			edges[id] = append(edges[id], other)
		}
		name := r.Type + " " + f.Physical(id)
		f.check(names[name] == "" || r.Type == "AWS::Route53::RecordSet", "%s and %s have the same name", names[name], id)
		names[name] = id
	}
	for id, o := range f.Outputs {
		if _, err := f.Resolve(o.Value); err != nil {
			f.add("output %s: %v", id, err)
		}
	}
	state := map[string]int{} // 1 while its dependencies are looked at, 2 after
	var visit func(id string, path []string)
	visit = func(id string, path []string) {
		path = append(path, id)
		switch state[id] {
		case 1:
			f.add("a circle: %s", strings.Join(path[slices.Index(path, id):], " needs "))
		case 0:
			state[id] = 1
			for _, other := range edges[id] {
				visit(other, path)
			}
			state[id] = 2
		}
	}
	for _, id := range slices.Sorted(maps.Keys(edges)) {
		visit(id, nil)
	}
}

// referred returns the resources that a value names, sorted.
func (f *finder) referred(v any) []string {
	seen := map[string]bool{}
	add := func(name string) {
		id, _, _ := strings.Cut(name, ".")
		if _, ok := f.Resources[id]; ok {
			seen[id] = true
		}
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for key, e := range v {
				text, isText := e.(string)
				list, _ := e.([]any)
				switch {
				case key == "Ref" && isText:
					add(text)
				case key == "Fn::GetAtt" && isText:
					add(text)
				case key == "Fn::GetAtt" && len(list) > 0:
					add(fmt.Sprint(list[0]))
				case key == "Fn::Sub":
					if len(list) > 0 {
						text = fmt.Sprint(list[0])
					}
					for part := range strings.SplitSeq(text, "${") {
						if name, _, ok := strings.Cut(part, "}"); ok {
							add(name)
						}
					}
				}
				walk(e)
			}
		}
	}
	walk(v)
	return slices.Sorted(maps.Keys(seen))
}
