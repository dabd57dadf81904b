package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/route"
)

// table is what a stack is made from.
type table struct {
	routes  []route.Route
	workers []route.Worker
	// section names the section of a route; nil derives it from the route.
	section func(route.Route) string
}

// function is one Lambda function. Everything about it follows from the
// declarations that it runs.
type function struct {
	name    string // without the name of the stack
	handler string // what _HANDLER holds: see functions/main.go
	section string // names its log group
	about   string
	memory  int
	timeout time.Duration
	uses    grant.Set
	routes  []route.Route // none for workers
	worker  *route.Worker
}

// answers reports whether the route of that name is the function's.
func (f *function) answers(name string) bool {
	return slices.ContainsFunc(f.routes, func(r route.Route) bool { return r.Name == name })
}

// The handlers that are not the name of a route or worker.
const (
	// handlerAll answers every route; the gateway decides which reach it, and
	// its role what they may touch.
	handlerAll = "all"
	// handlerUnknown answers 404 and 405 for what the gateway does not know.
	handlerUnknown = "unknown"
)

// plan decides which functions there are: one for each route and worker, except
// that a section of /_synapse is one function, because administrators call
// rarely, and an API has room for 300 integrations. With layout group the
// routes with the same grants share a function instead, those that stream apart
// from those that do not.
func plan(t table, layout string) ([]*function, error) {
	section := t.section
	if section == nil {
		section = sectionsOf(t.routes)
	}
	var all []*function
	byName := map[string]*function{}
	add := func(f *function) error {
		if !functionNames.MatchString(f.name) {
			return fmt.Errorf("%q cannot name a function: use letters, digits and _", f.name)
		}
		if byName[f.name] != nil || f.name == handlerAll {
			return fmt.Errorf("two routes or workers are named %q", f.name)
		}
		byName[f.name] = f
		all = append(all, f)
		return nil
	}
	if err := add(&function{
		name: handlerUnknown, handler: handlerUnknown, section: "gateway", about: "404 and 405 for everything else",
		memory: route.Small.MemoryMB(), timeout: route.Small.Timeout(),
	}); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, r := range t.routes {
		if seen[r.Name] || r.Name == handlerAll || r.Name == handlerUnknown {
			return nil, fmt.Errorf("two routes or workers are named %q", r.Name)
		}
		seen[r.Name] = true
		f := &function{
			name: r.Name, handler: r.Name, section: section(r), about: r.Pattern,
			memory: r.Size.MemoryMB(), timeout: r.Size.Timeout(), uses: r.Grants(), routes: []route.Route{r},
		}
		switch {
		case isAdmin(r):
			f.name = strings.ReplaceAll(f.section, "/", "_")
			f.handler, f.about = handlerAll, f.section
		case layout == "group":
			what := f.uses.String()
			if r.Streams() {
				what += " streams"
			}
			sum := sha256.Sum256([]byte(what))
			f.name = "group_" + hex.EncodeToString(sum[:4])
			f.handler, f.about, f.section = handlerAll, f.uses.String(), "group"
		}
		if g := byName[f.name]; g != nil && f.handler == handlerAll {
			g.routes = append(g.routes, r)
			g.uses = grant.Of(g.uses, f.uses)
			g.memory, g.timeout = max(g.memory, f.memory), max(g.timeout, f.timeout)
			continue
		}
		if err := add(f); err != nil {
			return nil, err
		}
	}
	for _, w := range t.workers {
		if seen[w.Name] {
			return nil, fmt.Errorf("two routes or workers are named %q", w.Name)
		}
		if err := add(&function{
			name: w.Name, handler: w.Name, section: "workers", about: w.On.String(),
			memory: w.Size.MemoryMB(), timeout: w.Size.Timeout(), uses: w.Uses, worker: &w,
		}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

var functionNames = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// isAdmin reports whether the route belongs to the API of administrators, which
// is a gateway of its own.
func isAdmin(r route.Route) bool { return strings.HasPrefix(r.Path(), "/_synapse/") }

// sectionsOf names the section of each route as its folder does, such as
// "client/membership". The types of request and response live in that folder. A
// route without types of its own belongs to the section of the route whose path
// has most in common with its own, or else is nearest in the list, which is made
// section by section.
func sectionsOf(routes []route.Route) func(route.Route) string {
	sections := map[string]string{}
	for i, r := range routes {
		section := folderOf(r)
		if section == "" {
			var common, far int
			api, fallback := apiOf(r)
			section = fallback
			for j, other := range routes {
				folder := folderOf(other)
				if otherAPI, _ := apiOf(other); folder == "" || otherAPI != api || api == "admin" {
					continue
				}
				n, d := commonWords(r.Path(), other.Path()), max(i-j, 2*(j-i))
				if section == fallback || n > common || n == common && d < far {
					section, common, far = folder, n, d
				}
			}
		}
		sections[r.Name] = section
	}
	return func(r route.Route) string { return sections[r.Name] }
}

func commonWords(a, b string) int {
	x, y := strings.Split(strings.Trim(a, "/"), "/"), strings.Split(strings.Trim(b, "/"), "/")
	n := 0
	for n < len(x) && n < len(y) && x[n] == y[n] {
		n++
	}
	return n
}

// folderOf returns the folder below functions/ of the types of a route, if it
// has any.
func folderOf(r route.Route) string {
	req, resp := r.Handler.Schema()
	for _, t := range append(namedTypes(req), namedTypes(resp)...) {
		if _, folder, ok := strings.Cut(t.PkgPath(), "/functions/"); ok {
			return folder
		}
	}
	return ""
}

// apiOf names the API of a route, and a section by the path alone.
func apiOf(r route.Route) (api, section string) {
	words := strings.Split(strings.Trim(r.Path(), "/"), "/")
	switch {
	case isAdmin(r) && len(words) > 3:
		// /_synapse/admin/v1/users/{userId} → admin/users
		return "admin", path.Join("admin", words[3])
	case isAdmin(r):
		return "admin", "admin/server"
	case len(words) > 1 && words[0] == "_matrix" && words[1] != "static": // a page of the client's API
		return words[1], words[1]
	}
	return "client", "client"
}
