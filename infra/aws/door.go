package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"github.com/virga-im/virga/shared/route"
)

//go:embed door.js
var doorJS string

// rule says that two prefixes of paths mean the same.
type rule struct{ from, to string }

// renames derives the rules of the front door from the further spellings of the
// routes: those that differ in the version alone from another spelling of the
// same route. There are so many of them that they would not fit the gateway.
//
// A rule for r0 covers everything below it; any other covers one word after the
// version, because /_matrix/client/v1 has endpoints of its own. A rule that
// would lead anything astray is not made, and its spellings are routes of the
// gateway; without the one for r0 there would be too many of those.
func renames(routes []route.Route) ([]rule, error) {
	var rules []rule
	for _, r := range routes {
		for _, pattern := range r.Patterns()[1:] {
			ru, ok := renaming(r, pattern)
			if !ok || slices.Contains(rules, ru) {
				continue
			}
			if name, path := astray(routes, ru); name == "" {
				rules = append(rules, ru)
			} else if strings.HasSuffix(ru.from, "/r0") {
				return nil, fmt.Errorf("route %s: the front door would rewrite %s, since %s stands for %s", name, path, ru.from, ru.to)
			}
		}
	}
	slices.SortFunc(rules, func(a, b rule) int { return strings.Compare(a.from, b.from) })
	return rules, nil
}

// astray returns a route, and the spelling of it, that the rule would keep from
// reaching its function.
func astray(routes []route.Route, ru rule) (name, path string) {
	for _, r := range routes {
		for _, pattern := range r.Patterns() {
			_, path, _ := strings.Cut(pattern, " ")
			if own, ok := renaming(r, pattern); below(path, ru.from) && (!ok || own != ru) {
				return r.Name, path
			}
		}
	}
	return "", ""
}

// renaming returns the rule that turns a spelling of the route into another one
// that has the version of its pattern.
func renaming(r route.Route, spelling string) (rule, bool) {
	const version = 3 // of "", "_matrix", "client", "v3", "join", …
	old, now := strings.Split(spelling, "/"), strings.Split(r.Pattern, "/")
	if len(old) <= version+1 || len(now) <= version+1 || old[version] == now[version] {
		return rule{}, false
	}
	renamed := slices.Clone(old)
	renamed[version] = now[version]
	if !slices.Contains(r.Patterns(), strings.Join(renamed, "/")) {
		return rule{}, false
	}
	n := version + 1
	if old[version] != "r0" {
		n++
		if strings.HasPrefix(old[version+1], "{") {
			return rule{}, false
		}
	}
	old[0], renamed[0] = "", "" // the method
	return rule{strings.Join(old[:n], "/"), strings.Join(renamed[:n], "/")}, true
}

func below(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

// rewritten reports whether the front door turns the pattern into another.
func rewritten(rules []rule, pattern string) bool {
	_, path, _ := strings.Cut(pattern, " ")
	return slices.ContainsFunc(rules, func(ru rule) bool { return below(path, ru.from) })
}

// doorCode fills the program of the front door. What it answers to a preflight
// is what the routes themselves would answer. The URLs of queues where requests
// wait begin with queues; it is empty in a stack without them.
func doorCode(rules []rule, queues string) (string, error) {
	pairs := [][2]string{}
	for _, ru := range rules {
		pairs = append(pairs, [2]string{ru.from, ru.to})
	}
	renamed, err := json.Marshal(pairs)
	if err != nil {
		return "", err
	}
	rec := httptest.NewRecorder()
	route.Mux(&route.Runtime{}, nil).ServeHTTP(rec, httptest.NewRequest(http.MethodOptions, "/", nil))
	headers := map[string]map[string]string{}
	for name := range rec.Header() {
		headers[strings.ToLower(name)] = map[string]string{"value": rec.Header().Get(name)}
	}
	preflight, err := json.Marshal(headers)
	if err != nil {
		return "", err
	}
	code := strings.Replace(doorJS, "RENAMED = []", "RENAMED = "+string(renamed), 1)
	code = strings.Replace(code, "PREFLIGHT = {}", "PREFLIGHT = "+string(preflight), 1)
	code = strings.Replace(code, "QUEUES = ''", "QUEUES = '"+queues+"'", 1)
	if len(code) > 10<<10 {
		return "", fmt.Errorf("the front door has %d bytes, and CloudFront allows 10 KB", len(code))
	}
	return code, nil
}
