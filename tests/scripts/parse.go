// Package scripts runs request scripts: stories told as HTTP requests and what
// must come back. A script is a text file:
//
//	# Comments tell the story.
//	server -registration token      flags of the server, before the first request
//
//	POST /_matrix/client/v3/login as $alice
//	Content-Type: application/json
//	{"type": "m.login.password"}
//	status 200
//	json user_id == "@alice:$server"
//	$token = access_token
//
// A request is its line, headers, and a body up to an empty line or the first
// expectation. "as $alice" sends the variable as the access token. Expectations:
//
//	status 200
//	json path == value      equal
//	json path has value     an array has such an element, an object such keys
//	json path lacks value   the opposite
//	json path ~ regexp      a string matches
//	json path len 3         of an array or object
//	json path exists        or: absent
//	header Name == text     or: ~ regexp
//	body == text            or: ~ regexp
//	eventually              all of this comes true within ten seconds of repeating
//	$name = path            keeps a value of the answer
//	$name = hmac-sha1 key part part…   over the parts joined by NUL, in hex
//
// Paths are keys and indexes: rooms.join.$room.timeline.events.0; a key with dots
// is quoted. An object matches a value if it has what the value has. $server is
// the server name, $base the URL that clients reach it by, $$ a dollar sign. The lines "restart" and "kill" end the
// server, by SIGTERM or SIGKILL, and start it again on the same data.
package scripts

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Script is a parsed script.
type Script struct {
	// Flags are those that the server needs.
	Flags []string
	// Vars are variables that the story begins with, besides $server, and instead of
	// $base where the server has a name that the tests cannot reach it by.
	Vars  map[string]string
	name  string
	steps []step
}

type step struct {
	line               int
	restart            string // or a request:
	method, target, as string
	headers            [][2]string
	body               string
	expect             []expectation
	eventually         bool
}

type expectation struct {
	line int
	text string
}

var (
	requestLine = regexp.MustCompile(`^(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) (\S+)(?: as (\S+))?$`)
	expectLine  = regexp.MustCompile(`^(status|json|header|body|eventually)\b|^\$\w+ = `)
	headerLine  = regexp.MustCompile(`^([A-Za-z-]+): (.*)$`)
)

// Parse reads a script file.
func Parse(file string) (*Script, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := &Script{name: file}
	var cur *step
	body := false // whether more lines of the body may follow
	for i, line := range strings.Split(string(b), "\n") {
		n := i + 1
		line = strings.TrimRight(line, " \t\r")
		m := requestLine.FindStringSubmatch(line)
		switch {
		case line == "":
			body = false
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "server ") && cur == nil:
			s.Flags = append(s.Flags, strings.Fields(line)[1:]...)
		case line == "restart" || line == "kill":
			s.steps = append(s.steps, step{line: n, restart: line})
			cur, body = nil, false
		case m != nil:
			s.steps = append(s.steps, step{line: n, method: m[1], target: m[2], as: m[3]})
			cur, body = &s.steps[len(s.steps)-1], true
		case cur == nil:
			return nil, fmt.Errorf("%s:%d: a request is expected before %q", file, n, line)
		case line == "eventually":
			cur.eventually, body = true, false
		case expectLine.MatchString(line):
			cur.expect, body = append(cur.expect, expectation{n, line}), false
		case !body:
			return nil, fmt.Errorf("%s:%d: %q is neither a request nor an expectation", file, n, line)
		case cur.body == "" && headerLine.MatchString(line):
			h := headerLine.FindStringSubmatch(line)
			cur.headers = append(cur.headers, [2]string{h[1], h[2]})
		default:
			cur.body += line + "\n"
		}
	}
	for _, st := range s.steps {
		if st.restart == "" && len(st.expect) == 0 {
			return nil, fmt.Errorf("%s:%d: nothing is expected of this request", file, st.line)
		}
	}
	return s, nil
}
