package checks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// awkward are texts that something between client and server likes to change: to
// decode, to cut, to tidy up, or to take for one another. A slash alone is not among
// them: Go's own ServeMux takes it for the end of the path.
var awkward = []string{
	"a/b", "a?b", "a+b", "a b", "a~b", "a//b", "a#b", "a%2Fb", "~2F", "%2F", "%", "...", "a/", "a&b=c;d", "é☕", "a%252Fb", "{x}", "\"", "a\\b",
	"a", // what is left of some, if they are cut
}

// named returns what is wrong with a name of the suite's own, kept by put and read by
// get, each of which makes the target of a request from the escaped name.
func (s *suite) named(ctx context.Context, names []string, keep, read func(name string) request, is func(name string, o object) bool) error {
	var errs []error
	kept := names[:0:0]
	for _, name := range names {
		if _, err := s.call(ctx, keep(name)); err != nil {
			errs = append(errs, fmt.Errorf("%q cannot be written: %w", name, err))
			continue
		}
		kept = append(kept, name)
	}
	// All of them are there by now: one that was taken for another has its content.
	for _, name := range kept {
		o, err := s.call(ctx, read(name))
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%q cannot be read: %w", name, err))
		case !is(name, o):
			text, _ := json.Marshal(o)
			errs = append(errs, fmt.Errorf("%q is taken for another: %s", name, text))
		}
	}
	if len(errs) > 3 { // they have one cause
		errs = append(errs[:3], fmt.Errorf("and %d more", len(errs)-3))
	}
	return errors.Join(errs...)
}

const decoded = "something decodes or tidies up paths: only what the front door (infra/aws/door.js) puts into X-Virga-Uri may be read, and no proxy may be before it"

// names looks whether what people name arrives as it was sent.
func (s *suite) names(ctx context.Context, p *person, room string) {
	of := fmt.Sprintf("%d names, such as %q, %q and %q", len(awkward), awkward[0], awkward[5], awkward[9])
	at := func(method, target string, body any) request {
		return request{method: method, target: target, token: p.token, body: body}
	}
	data := func(name string) string {
		return v3 + "/user/" + escaped(p.user) + "/account_data/" + escaped(name)
	}
	s.judge("account data", of, decoded, s.named(ctx, awkward,
		func(name string) request { return at("PUT", data(name), object{"is": name}) },
		func(name string) request { return at("GET", data(name), nil) },
		func(name string, o object) bool { return o["is"] == name }))

	state := func(name string) string {
		return v3 + "/rooms/" + escaped(room) + "/state/org.virga.smoke/" + escaped(name)
	}
	s.judge("state keys", of, decoded, s.named(ctx, awkward,
		func(name string) request { return at("PUT", state(name), object{"is": name}) },
		func(name string) request { return at("GET", state(name), nil) },
		func(name string, o object) bool { return o["is"] == name }))

	s.dots(ctx, at, state)

	server := p.user[strings.Index(p.user, ":"):]
	alias := func(name string) string {
		return v3 + "/directory/room/" + escaped("#smoke-"+s.run+name+server)
	}
	s.judge("room aliases", of, decoded, s.named(ctx, awkward,
		func(name string) request { return at("PUT", alias(name), object{"room_id": room}) },
		func(name string) request { return at("GET", alias(name), nil) },
		func(name string, o object) bool { return o["room_id"] == room }))
	var errs []error
	for _, name := range awkward {
		_, err := s.call(ctx, at("DELETE", alias(name), nil))
		errs = append(errs, err)
	}
	s.judge("aliases deleted", "each by its own name", decoded, errors.Join(errs...))
}

// dots looks at state keys that are steps of a path once they are decoded. CloudFront
// does so to choose where a request goes, so they may be refused; but never may one be
// taken for the path that is left of it.
func (s *suite) dots(ctx context.Context, at func(method, target string, body any) request, state func(string) string) {
	var errs []error
	refused := 0
	for _, name := range []string{".", ".."} {
		a, err := s.send(ctx, at("PUT", state(name), object{"is": name}))
		if err == nil && a.status/100 == 4 {
			refused++
			continue
		}
		var o object
		if err == nil {
			_, err = a.json(http.StatusOK)
		}
		if err == nil {
			o, err = s.call(ctx, at("GET", state(name), nil))
		}
		if err == nil && o["is"] != name {
			err = fmt.Errorf("%q is taken for another", name)
		}
		errs = append(errs, err)
	}
	// What is left of a key that is a step is the empty one, which nobody has written.
	a, err := s.send(ctx, at("GET", state(""), nil))
	if err == nil && a.status != http.StatusNotFound {
		err = fmt.Errorf("a key that is a dot is taken for an empty one: %s", short(string(a.body)))
	}
	errs = append(errs, err)
	found := "are names as others are"
	if refused > 0 {
		found = fmt.Sprintf("%d of 2 are refused", refused)
	}
	s.judge("dots", found, decoded, errors.Join(errs...))
}

// spellings are the same endpoint written otherwise, and what looks like one and is none.
func (s *suite) spellings(ctx context.Context, p *person) {
	var errs []error
	for _, target := range []string{
		v3 + "/account/whoami", "/_matrix/client/r0/account/whoami", "/_matrix/client/v3/account/%77hoami", "/_matrix/client/v3/account/whoami?",
	} {
		o, err := s.call(ctx, request{method: "GET", target: target, token: p.token})
		if err == nil && o["user_id"] != p.user {
			err = fmt.Errorf("%s is answered as another request", target)
		}
		errs = append(errs, err)
	}
	for _, target := range []string{
		"//_matrix/client/v3/account/whoami", "/_matrix/client//v3/account/whoami", v3 + "/account/whoami/", v3 + "/rooms/../account/whoami", v3 + "/./account/whoami",
		"/_matrix%2Fclient/v3/account/whoami",
	} {
		// Who refuses it, the server or what is before it, is not said.
		a, err := s.send(ctx, request{method: "GET", target: target, token: p.token})
		if err == nil && (a.status < 400 || a.status > 499 || a.status == http.StatusUnauthorized) {
			err = fmt.Errorf("%s is answered %d, and is no endpoint", target, a.status)
		}
		errs = append(errs, err)
	}
	s.judge("spellings of paths", "4 that are one endpoint, 6 that are none", decoded, errors.Join(errs...))
}

// queries looks whether a query arrives as it was sent.
func (s *suite) queries(ctx context.Context, p *person, room string) {
	const do = "something decodes queries: a + in them is a space then, and %25 a percent sign too early"
	var errs []error
	for i, typ := range []string{"org.virga.a+b", "org.virga.a%2Bb", "org.virga.a&b=c", "org.virga.é"} {
		_, err := s.call(ctx, request{
			method: "PUT", target: fmt.Sprintf("%s/rooms/%s/send/%s/query%d%s", v3, escaped(room), escaped(typ), i, s.run), token: p.token, body: object{},
		})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		filter, _ := json.Marshal(object{"types": []string{typ}})
		o, err := s.call(ctx, request{method: "GET", target: v3 + "/rooms/" + escaped(room) + "/messages?dir=b&filter=" + url.QueryEscape(string(filter)), token: p.token})
		list, _ := o["chunk"].([]any)
		if err == nil && len(list) != 1 {
			err = fmt.Errorf("a filter for the type %q finds %d events, and not one", typ, len(list))
		}
		errs = append(errs, err)
	}
	s.judge("queries", "filters with +, %, & and é", do, errors.Join(errs...))
}

// lengths are how long a request may be.
func (s *suite) lengths(ctx context.Context, p *person) {
	long := func(n int) request {
		target := v3 + "/account/whoami?x="
		return request{method: "GET", target: target + strings.Repeat("x", n-len(target)), token: p.token}
	}
	o, err := s.call(ctx, long(4096))
	if err == nil && o["user_id"] != p.user {
		err = errors.New("it is answered as another request")
	}
	s.judge("a URL of 4 KB", "is answered", "the front door puts the URL into a header, and something does not take one of that length: /sync with a filter in its URL will fail", err)

	const check = "a URL of 11 KB"
	a, err := s.send(ctx, long(11<<10))
	switch {
	case err != nil:
		s.tell(fine, check, "the connection ends: "+short(err.Error()), "")
	case a.status == http.StatusOK:
		s.tell(fine, check, "is answered", "")
	case a.status >= 500:
		s.tell(bad, check, fmt.Sprintf("is answered %d %s", a.status, short(string(a.body))), "a client's mistake is to be 4xx, since clients repeat what is 5xx")
	default:
		s.tell(fine, check, fmt.Sprintf("is refused with %d %s", a.status, short(string(a.body))), "")
	}
}
