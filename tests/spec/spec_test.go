// Package spec holds the routes against the specification: every operation that
// a homeserver serves is declared by a route, or stands in missing.tsv with the
// reason.
//
// operations.tsv is derived from the OpenAPI data of the Matrix specification.
// coverage.md, and what README.md says of it, are written by
//
//	go test ./tests/spec -update
//
// which also removes from missing.tsv what is there by now.
package spec

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/route"
)

var update = flag.Bool("update", false, "write coverage.md, missing.tsv and what README.md says of them")

// operation is a line of operations.tsv.
type operation struct {
	API, Section, Pattern, ID, Auth, Since string
	Limited                                bool
}

func (o operation) key() string { return o.Pattern + "\t" + o.ID }

// lines returns the lines of a TSV file that are no comments.
func lines(t *testing.T, file string, columns int) (comments string, rows [][]string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			comments += line
			continue
		}
		row := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(row) != columns {
			t.Fatalf("%s: %q has not %d columns", file, line, columns)
		}
		rows = append(rows, row)
	}
	return comments, rows
}

func operations(t *testing.T) []operation {
	var ops []operation
	_, rows := lines(t, "operations.tsv", 8)
	for _, r := range rows {
		ops = append(ops, operation{API: r[0], Section: r[1], Pattern: r[2] + " " + r[3], ID: r[4], Auth: r[5], Since: r[6], Limited: r[7] == "yes"})
	}
	return ops
}

func declared() map[string]route.Route {
	all := map[string]route.Route{}
	for _, r := range api.Routes() {
		all[r.Pattern] = r
	}
	return all
}

// Routes may be limited that the specification leaves alone.
func TestOperationsAreLimitedAsTheSpecificationSays(t *testing.T) {
	routes := declared()
	for _, o := range operations(t) {
		if r, there := routes[o.Pattern]; there && o.Limited && r.Limit == route.NoLimit {
			t.Errorf("%s (%s) should be rate-limited, and its route names no limit", o.ID, o.Pattern)
		}
	}
}

func TestEveryOperationIsServedOrMissingForAReason(t *testing.T) {
	routes := declared()
	comments, rows := lines(t, "missing.tsv", 3)
	missing := map[string]string{}
	for _, r := range rows {
		missing[r[0]+"\t"+r[1]] = r[2]
		if strings.TrimSpace(r[2]) == "" {
			t.Errorf("missing.tsv gives no reason for %s", r[1])
		}
	}
	ops := operations(t)
	patterns := map[string]int{} // two operations may share one, told apart by their bodies
	for _, o := range ops {
		patterns[o.Pattern]++
	}
	still := comments
	served := map[string]bool{}
	for _, o := range ops {
		r, there := routes[o.Pattern]
		reason, listed := missing[o.key()]
		delete(missing, o.key())
		if there && listed && patterns[o.Pattern] > 1 && r.Name != o.ID {
			there = false
		}
		served[o.key()] = there
		switch {
		case there && listed && !*update:
			t.Errorf("%s (%s) is declared: remove it from missing.tsv, or run with -update", o.ID, o.Pattern)
		case !there && !listed:
			t.Errorf("%s (%s) is neither declared by a route nor in missing.tsv", o.ID, o.Pattern)
		case !there:
			still += o.key() + "\t" + reason + "\n"
		}
	}
	for key := range missing {
		t.Errorf("missing.tsv has %q, which is no operation of the specification", key)
	}
	if *update {
		write(t, "missing.tsv", still)
	}
	golden(t, "coverage.md", coverage(ops, routes, served))
	readme(t, "coverage", total(ops, served))
	readme(t, "sections", sections(ops, served))
}

func TestRoutesAgreeWithTheSpecification(t *testing.T) {
	// What the specification calls optional may be public: it is for servers
	// that answer strangers and users differently.
	auth := map[string][]string{
		"none": {"none"}, "optional": {"optional", "none"}, "access token": {"access token"}, "signature": {"signature"},
	}
	routes := declared()
	for _, o := range operations(t) {
		r, ok := routes[o.Pattern]
		if !ok {
			continue
		}
		if !slices.Contains(auth[o.Auth], r.Auth.String()) {
			t.Errorf("%s: its auth is %q, and %q in the specification", r.Name, r.Auth, o.Auth)
		}
	}
}

func TestNamesAndPatternsAreUnique(t *testing.T) {
	// An operationId may occur in both APIs; federation routes then say so.
	ids := map[string][]string{}
	for _, o := range operations(t) {
		ids[o.Pattern] = append(ids[o.Pattern], o.ID, "federation"+strings.ToUpper(o.ID[:1])+o.ID[1:])
	}
	names, patterns := map[string]string{}, map[string]string{}
	for _, r := range api.Routes() {
		if other, ok := names[strings.ToLower(r.Name)]; ok {
			t.Errorf("the name %s is that of %s and %s", r.Name, r.Pattern, other)
		}
		names[strings.ToLower(r.Name)] = r.Pattern
		for _, p := range r.Patterns() {
			if other, ok := patterns[p]; ok {
				t.Errorf("%s belongs to %s and %s", p, r.Name, other)
			}
			patterns[p] = r.Name
		}
		if known, ok := ids[r.Pattern]; ok && !slices.Contains(known, r.Name) {
			t.Errorf("the route %s of %s is named %s in the specification", r.Name, r.Pattern, known[0])
		}
	}
	for _, w := range api.Workers() {
		if other, ok := names[strings.ToLower(w.Name)]; ok {
			t.Errorf("the worker %s has the name of %s", w.Name, other)
		}
		names[strings.ToLower(w.Name)] = "a worker"
	}
}

// TestOneFileForEachRoute keeps the rule by which a reader finds a route: its
// file is named after the operationId, in snake case.
func TestOneFileForEachRoute(t *testing.T) {
	const maxLines = 150
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	files := map[string]string{} // by API and name, as both APIs may have one
	found, err := filepath.Glob("../../functions/*/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		api, name := strings.Split(f, "/")[3], strings.TrimSuffix(filepath.Base(f), ".go")
		files[api+" "+plain(name)] = f
	}
	ops := map[string]bool{}
	for _, o := range operations(t) {
		ops[o.Pattern] = true
	}
	for _, r := range api.Routes() {
		in := "client"
		if strings.HasPrefix(r.Path(), "/_synapse/") {
			in = "admin"
		} else if strings.HasPrefix(r.Path(), "/_matrix/federation/") || strings.HasPrefix(r.Path(), "/_matrix/key/") || r.Path() == "/.well-known/matrix/server" {
			in = "federation"
		}
		file, ok := files[in+" "+plain(r.Name)]
		if !ok {
			file, ok = files[in+" "+plain(strings.TrimPrefix(r.Name, "federation"))]
		}
		if !ok {
			t.Errorf("the route %s has no file named after it in functions/%s/*/", r.Name, in)
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), "\n"); n > maxLines {
			t.Errorf("%s has %d lines: what is beyond %d belongs to a domain", file, n, maxLines)
		}
		if ops[r.Pattern] && !strings.Contains(string(b), "https://spec.matrix.org/v1.19/") {
			t.Errorf("%s has no link to the specification", file)
		}
	}
}

func coverage(ops []operation, routes map[string]route.Route, served map[string]bool) string {
	var b strings.Builder
	b.WriteString("# Coverage of the specification\n\nWritten by `go test ./tests/spec -update`. ✓ is served, – is not there yet: [missing.tsv](missing.tsv) says why.\n\n")
	fmt.Fprintf(&b, "%s.\n", total(ops, served))
	section := ""
	inSpec := map[string]bool{}
	for _, o := range ops {
		inSpec[o.Pattern] = true
		if s := o.API + ": " + o.Section; s != section {
			section = s
			fmt.Fprintf(&b, "\n## %s\n\n| | operation | | auth | since |\n| --- | --- | --- | --- | --- |\n", section)
		}
		mark := "–"
		if served[o.key()] {
			mark = "✓"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", mark, o.Pattern, o.ID, o.Auth, o.Since)
	}
	b.WriteString("\n## Not in the specification\n\n| operation | | auth |\n| --- | --- | --- |\n")
	for _, r := range api.Routes() {
		if !inSpec[r.Pattern] {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.Pattern, r.Name, r.Auth)
		}
	}
	return b.String()
}

func total(ops []operation, served map[string]bool) string {
	n := map[string][2]int{}
	for _, o := range ops {
		c := n[o.API]
		if served[o.key()] {
			c[0]++
		}
		c[1]++
		n[o.API] = c
	}
	c, f := n["client-server"], n["server-server"]
	return fmt.Sprintf("%d of %d operations of the client-server API and %d of %d of the server-server API are served", c[0], c[1], f[0], f[1])
}

// golden compares a generated file with what is checked in.
func golden(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		write(t, file, want)
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: run go test ./tests/spec -update", file)
	}
}

// sections tells where something is served already, and where nothing is.
func sections(ops []operation, served map[string]bool) string {
	var order, some, none []string
	n := map[string][2]int{}
	for _, o := range ops {
		name := o.Section
		if o.API == "server-server" {
			name = "federation"
		}
		c, known := n[name]
		if !known {
			order = append(order, name)
		}
		if served[o.key()] {
			c[0]++
		}
		c[1]++
		n[name] = c
	}
	for _, name := range order {
		switch c := n[name]; {
		case c[0] == 0:
			none = append(none, name)
		case c[0] == c[1]:
			some = append(some, name)
		default:
			some = append(some, fmt.Sprintf("%s (%d of %d)", name, c[0], c[1]))
		}
	}
	return fmt.Sprintf("\n\nServed: %s.\n\nNot yet: %s.\n\n", strings.Join(some, ", "), strings.Join(none, ", "))
}

// readme checks the text between two markers in README.md.
func readme(t *testing.T, marker, want string) {
	t.Helper()
	const file = "../../README.md"
	begin, end := "<!-- "+marker+" -->", "<!-- /"+marker+" -->"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("README.md has no %s…%s", begin, end)
	}
	switch {
	case got == want:
	case *update:
		write(t, file, before+begin+want+end+after)
	default:
		t.Errorf("README.md says %q, and %q is true: run go test ./tests/spec -update", got, want)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
