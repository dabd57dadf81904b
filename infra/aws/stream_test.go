package main

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/route"
)

// way is a path pattern of the distribution, and the function that its origin is
// the URL of, if it is one.
type way struct {
	pattern, origin, function string
	matches                   *regexp.Regexp
}

func distributionOf(t *testing.T, tm *stacked) []way {
	t.Helper()
	list, _ := at(t, tm.one(t, "Distribution"), "DistributionConfig", "CacheBehaviors").([]any)
	var all []way
	for _, b := range list {
		origin, pattern := at(t, b, "TargetOriginId").(string), at(t, b, "PathPattern").(string)
		text := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
		all = append(all, way{pattern, origin, functionOfURL(t, tm, origin), regexp.MustCompile(`^(?s:` + text + `)$`)})
	}
	return all
}

// functionOfURL returns the name of the function that an origin is the URL of, or
// nothing.
func functionOfURL(t *testing.T, tm *stacked, origin string) string {
	t.Helper()
	for _, o := range at(t, tm.one(t, "Distribution"), "DistributionConfig", "Origins").([]any) {
		if at(t, o, "Id") != origin {
			continue
		}
		for id := range tm.All("AWS::Lambda::Url") {
			if tm.attribute(t, id, "FunctionUrl") == "https://"+at(t, o, "DomainName").(string)+"/" {
				_, name, _ := strings.Cut(tm.one(t, id)["TargetFunctionArn"].(string), ":function:"+tm.opts.stack+"_")
				return name
			}
		}
		return ""
	}
	t.Fatalf("there is no origin %s", origin)
	return ""
}

// wayOf is the first pattern that matches, which counts.
func wayOf(all []way, path string) (w way) {
	for _, w := range all {
		if w.matches.MatchString(path) {
			return w
		}
	}
	return way{origin: "Api"}
}

// asMatched are the forms of a path that the distribution may look at: it is said to
// normalise a path, and not how far.
func asMatched(path string) []string {
	unreserved := escapes.ReplaceAllStringFunc(path, func(e string) string {
		if c, err := url.PathUnescape(e); err == nil && !strings.ContainsAny(c, "!$&'()*+,;=:/?#[]@%") {
			return c
		}
		return e
	})
	all := []string{path, unreserved}
	if plain, err := url.PathUnescape(path); err == nil {
		all = append(all, plain)
	}
	return all
}

var escapes = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// A path that the distribution takes to the URL of a function is one of the routes
// of the function, whatever the parameters are, and however far the distribution
// decodes; and all spellings of what streams go there.
func TestOnlyItsOwnRequestsReachTheURLOfAFunction(t *testing.T) {
	full, tab := fullStack(t)
	opts := testOptions("virga-a")
	opts.layout = "group"
	today := table{routes: api.Routes(), workers: api.Workers()}
	ownWays(t, full, tab)
	ownWays(t, realStack(t), today)
	ownWays(t, synth(t, opts, today), today)
}

func ownWays(t *testing.T, tm *stacked, tab table) {
	functions, err := plan(tab, tm.opts.layout)
	if err != nil {
		t.Fatal(err)
	}
	ways := distributionOf(t, tm)
	// The words of what streams, as parameters of everything else.
	nasty := []string{"x", "%21a%2Fb%3Fc:example.org", "%2E%2e", "?"}
	for _, w := range ways {
		words := strings.FieldsFunc(w.pattern, func(r rune) bool { return strings.ContainsRune("/*?", r) })
		if w.function != "" {
			last := words[len(words)-1]
			nasty = append(nasty, last, "x%2F"+last, "x%2F"+last+"%2Fx", last+"%2Fx", "rooms", "rooms%2Fx%2F"+last)
		}
	}
	slices.Sort(nasty)
	nasty = slices.Compact(nasty)
	asked, streamed, bad := 0, map[string]bool{}, 0
	for _, f := range functions {
		for _, r := range f.routes {
			for _, p := range r.Patterns() {
				_, path, _ := strings.Cut(strings.TrimSuffix(p, "{$}"), " ")
				n := len(parameter.FindAllString(path, -1))
				for _, value := range nasty {
					for one := range n + 1 { // in the place of one parameter, or of all
						i := -1
						uri := parameter.ReplaceAllStringFunc(path, func(name string) string {
							switch i++; {
							case i != one && one != n:
								return "y"
							case name == "{roomId}" && strings.Contains(value, "%2F"):
								// Of rooms whose ids may hold a slash they end in a server name.
								return value + ":example.org"
							}
							return value
						})
						uri, _, _ = strings.Cut(uri, "?")
						for form, path := range asMatched(uri) {
							asked++
							w := wayOf(ways, path)
							own := w.function == f.name
							if form == 0 && own {
								streamed[r.Name] = true
							}
							if wrong := w.function != "" && !own || form == 0 && r.Streams() && strings.Count(uri, "/") == strings.Count(p, "/") && !own; wrong {
								if bad++; bad < 20 {
									t.Errorf("%s of %s goes to %q by %s", path, r.Name, w.function, w.pattern)
								}
							}
						}
					}
				}
			}
		}
	}
	var want int
	for _, r := range tab.routes {
		if r.Streams() {
			want++
		}
		if streamed[r.Name] != r.Streams() {
			t.Errorf("%s streams: %v, and its requests reach the URL of its function: %v", r.Name, r.Streams(), streamed[r.Name])
		}
	}
	if want == 0 {
		t.Fatal("nothing streams")
	}
	var patterns []string
	for _, w := range ways {
		patterns = append(patterns, w.pattern+" → "+w.origin)
	}
	t.Logf("%s: %d paths, %d routes that stream; %d behaviours: %s", tm.opts.layout, asked, want, len(ways), strings.Join(patterns, ", "))
}

func TestFunctionsThatStreamAreOpenToTheDistributionAlone(t *testing.T) {
	tm := realStack(t)
	for _, r := range api.Routes() {
		id := functionID(r.Name)
		_, ok := tm.Resources[id+"Url"]
		if ok != r.Streams() {
			t.Errorf("%s streams: %v, and has a URL: %v", r.Name, r.Streams(), ok)
		}
		if !ok {
			continue
		}
		if p := tm.one(t, id+"Url"); p["AuthType"] != "NONE" || p["InvokeMode"] != "RESPONSE_STREAM" || p["TargetFunctionArn"] != tm.attribute(t, id, "Arn") {
			t.Errorf("%s: %v", r.Name, p)
		}
		if p := tm.one(t, id+"UrlOpen"); p["Action"] != "lambda:InvokeFunctionUrl" || p["FunctionUrlAuthType"] != "NONE" || p["Principal"] != "*" || p["FunctionName"] != tm.attribute(t, id, "Arn") {
			t.Errorf("%s: %v", r.Name, p)
		}
		if p := tm.one(t, id+"UrlInvoke"); p["Action"] != "lambda:InvokeFunction" || p["InvokedViaFunctionUrl"] != true || p["Principal"] != "*" || p["FunctionName"] != tm.attribute(t, id, "Arn") {
			t.Errorf("%s: %v", r.Name, p)
		}
		if has := at(t, tm.Resources[id].Properties, "Environment", "Variables", aws.SecretEnv); !isAttribute(has, "Secret", "Accepted") {
			t.Errorf("%s has the secret %v, and everybody may call it", r.Name, has)
		}
	}
}

// The distribution names the URL of a function, so the function is not told the name
// of the distribution; all others are.
func TestNoResourceNeedsItself(t *testing.T) {
	for _, tm := range []*stacked{realStack(t), alarmingStack(t)} {
		needs := map[string][]string{}
		for id, r := range tm.Resources {
			needs[id] = append(references(r.Properties), r.DependsOn...)
		}
		var path []string
		done := map[string]bool{}
		var visit func(id string)
		visit = func(id string) {
			if i := slices.Index(path, id); i >= 0 {
				t.Fatalf("%s needs itself: %v", id, path[i:])
			}
			if done[id] {
				return
			}
			path = append(path, id)
			for _, other := range needs[id] {
				visit(other)
			}
			path, done[id] = path[:len(path)-1], true
		}
		for id := range tm.Resources {
			visit(id)
		}
	}
}

// references are the resources that a property names.
func references(v any) (ids []string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			ids = append(ids, references(e)...)
		}
	case map[string]any:
		for key, e := range v {
			switch id, _ := e.(string); {
			case key == "Ref" && !strings.HasPrefix(id, "AWS::"):
				ids = append(ids, id)
			case key == "Fn::GetAtt":
				ids = append(ids, e.([]any)[0].(string))
			default:
				ids = append(ids, references(e)...)
			}
		}
	}
	return ids
}

func TestFunctionsKnowTheAddressOfTheServerIfItIsKnown(t *testing.T) {
	named := testOptions("virga-a")
	named.domain, named.certificate = "m.example.org", "arn:aws:acm:us-east-1:123456789012:certificate/0a1b"
	told := testOptions("virga-a")
	told.settings = map[string]string{"VIRGA_SERVER_NAME": "example.org", "VIRGA_PUBLIC_BASEURL": "https://told.example.org"}
	few := table{workers: standInWorkers()}
	for _, r := range api.Routes() {
		if r.Name == "sync" || r.Name == "getWellknown" {
			few.routes = append(few.routes, r)
		}
	}
	for _, tt := range []struct {
		tm              *stacked
		sync, wellknown any
	}{
		{synth(t, testOptions("virga-a"), few), nil, "https://d111111abcdef8.cloudfront.net"},
		{synth(t, named, few), "https://m.example.org", "https://m.example.org"},
		{synth(t, told, few), "https://told.example.org", "https://told.example.org"},
	} {
		for name, want := range map[string]any{"sync": tt.sync, "getWellknown": tt.wellknown} {
			if got := at(t, tt.tm.one(t, name), "Environment", "Variables", "VIRGA_PUBLIC_BASEURL"); got != want {
				t.Errorf("%s is told %v, want %v", name, got, want)
			}
		}
	}
}

func TestRoutesThatCannotStreamAreRefused(t *testing.T) {
	streams := route.Route{Name: "a", Pattern: "GET /_matrix/client/v3/rooms/{roomId}/a", Unbounded: true, Handler: standInHandler}
	for name, other := range map[string]route.Route{
		"another method of the path":        {Name: "b", Pattern: "PUT /_matrix/client/v3/rooms/{roomId}/a", Handler: standInHandler},
		"another version of it":             {Name: "b", Pattern: "GET /_matrix/client/v1/rooms/{roomId}/a", Handler: standInHandler},
		"a parameter that may be its word":  {Name: "b", Pattern: "GET /_matrix/client/v3/rooms/{roomId}/{thing}", Handler: standInHandler},
		"a parameter before its parameter":  {Name: "b", Pattern: "GET /_matrix/client/v3/{things}/x/a", Handler: standInHandler},
		"one of administrators that stream": {Name: "b", Pattern: "GET /_synapse/admin/v1/things", Unbounded: true, Handler: standInHandler},
	} {
		functions, err := plan(table{routes: []route.Route{streams, other}}, "route")
		if err != nil {
			t.Fatal(err)
		}
		if all, err := behaviours(functions); err == nil {
			t.Errorf("%s is accepted: %v", name, all)
		}
	}
	deeper := route.Route{Name: "b", Pattern: "PUT /_matrix/client/v3/rooms/{roomId}/b/{c}/{d}", Handler: standInHandler}
	between := route.Route{Name: "c", Pattern: "GET /_matrix/client/v3/rooms/{roomId}/b/{c}", Unbounded: true, Handler: standInHandler}
	functions, err := plan(table{routes: []route.Route{streams, deeper, between}}, "route")
	if err != nil {
		t.Fatal(err)
	}
	all, err := behaviours(functions)
	var got []string
	for _, b := range all {
		got = append(got, b.pattern)
	}
	want := []string{"/_matrix/client/??/rooms/*/*/*/*", "/_matrix/client/??/rooms/*/b/*", "/_matrix/client/??/rooms/*/*/*", "/_matrix/client/??/rooms/*/a"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}
