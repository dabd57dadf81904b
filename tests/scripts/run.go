package scripts

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Target is a server that scripts talk to.
type Target interface {
	// Base is the URL of the client API, without a slash at its end.
	Base() string
	// Restart ends the server, by SIGKILL if kill is set, and starts it again.
	Restart(kill bool)
}

// Run runs the script against the target, whose server name is given.
func (s *Script) Run(t testing.TB, target Target, serverName string) {
	t.Helper()
	r := &run{t: t, script: s, vars: map[string]string{"server": serverName, "base": target.Base()}}
	maps.Copy(r.vars, s.Vars)
	for _, st := range s.steps {
		if st.restart != "" {
			target.Restart(st.restart == "kill")
			continue
		}
		deadline := time.Now().Add(10 * time.Second)
		for {
			err := r.step(target.Base(), st)
			if err == nil {
				break
			}
			if !st.eventually || time.Now().After(deadline) {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

type run struct {
	t      testing.TB
	script *Script
	vars   map[string]string
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
	json   any
}

func (r *run) step(base string, st step) error {
	at := func(line int, err error) error { return fmt.Errorf("%s:%d: %w", r.script.name, line, err) }
	a, err := r.send(base, st)
	if err != nil {
		return at(st.line, err)
	}
	for _, e := range st.expect {
		if err := r.check(a, e.text); err != nil {
			return at(e.line, fmt.Errorf("%w\n%s %s answered %d\n%s", err, st.method, st.target, a.status, a.body))
		}
	}
	return nil
}

func (r *run) send(base string, st step) (*answer, error) {
	path, query, _ := strings.Cut(st.target, "?")
	path, err := r.expand(path, url.PathEscape)
	if err != nil {
		return nil, err
	}
	if query, err = r.expand(query, url.QueryEscape); err != nil {
		return nil, err
	}
	if query != "" {
		path += "?" + query
	}
	body, err := r.expand(st.body, nil)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(r.t.Context(), st.method, base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range st.headers {
		v, err := r.expand(h[1], nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set(h[0], v)
	}
	if st.as != "" {
		token, err := r.expand(st.as, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	a := &answer{status: resp.StatusCode, header: resp.Header, body: string(b)}
	if json.Unmarshal(b, &a.json) != nil {
		a.json = nil
	}
	return a, nil
}

func (r *run) check(a *answer, text string) error {
	kind, rest, _ := strings.Cut(text, " ")
	switch kind {
	case "status":
		if rest != strconv.Itoa(a.status) {
			return fmt.Errorf("the status is %d, not %s", a.status, rest)
		}
		return nil
	case "header":
		name, cond, _ := strings.Cut(rest, " ")
		return r.text(a.header.Get(name), cond)
	case "body":
		return r.text(a.body, rest)
	case "json":
		path, cond, _ := strings.Cut(rest, " ")
		v, ok, err := r.at(a.json, path)
		if err != nil {
			return err
		}
		return r.value(v, ok, cond)
	}
	return r.keep(a, strings.TrimPrefix(kind, "$"), strings.TrimPrefix(rest, "= "))
}

// keep sets a variable.
func (r *run) keep(a *answer, name, from string) error {
	if args, ok := strings.CutPrefix(from, "hmac-sha1 "); ok {
		args, err := r.expand(args, nil)
		if err != nil {
			return err
		}
		key, parts, _ := strings.Cut(args, " ")
		mac := hmac.New(sha1.New, []byte(key))
		mac.Write([]byte(strings.ReplaceAll(parts, " ", "\x00")))
		r.vars[name] = hex.EncodeToString(mac.Sum(nil))
		return nil
	}
	v, ok, err := r.at(a.json, from)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("there is no %s", from)
	}
	if s, ok := v.(string); ok {
		r.vars[name] = s
		return nil
	}
	b, err := json.Marshal(v)
	r.vars[name] = string(b)
	return err
}

// text judges a header or a body.
func (r *run) text(got, cond string) error {
	op, want, _ := strings.Cut(cond, " ")
	want, err := r.expand(want, nil)
	if err != nil {
		return err
	}
	switch op {
	case "==":
		if got != want {
			return fmt.Errorf("%q is not %q", got, want)
		}
		return nil
	case "~":
		re, err := regexp.Compile(want)
		if err == nil && !re.MatchString(got) {
			err = fmt.Errorf("%q does not match %s", got, want)
		}
		return err
	}
	return fmt.Errorf("unknown condition %q", cond)
}

// value judges a JSON value.
func (r *run) value(got any, exists bool, cond string) error {
	op, text, _ := strings.Cut(cond, " ")
	switch {
	case op == "absent" && exists:
		return fmt.Errorf("it is %s", show(got))
	case op == "absent", op == "exists" && exists:
		return nil
	case !exists:
		return fmt.Errorf("it is absent")
	case op == "~":
		s, ok := got.(string)
		if !ok {
			return fmt.Errorf("%s is no string", show(got))
		}
		return r.text(s, cond)
	}
	text, err := r.expand(text, nil)
	if err != nil {
		return err
	}
	var want any
	if json.Unmarshal([]byte(text), &want) != nil {
		return fmt.Errorf("%q is not JSON", text)
	}
	ok := false
	switch op {
	case "==":
		ok = reflect.DeepEqual(got, want)
	case "has":
		ok = has(got, want)
	case "lacks":
		ok = !has(got, want)
	case "len":
		v := reflect.ValueOf(got)
		ok = (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && float64(v.Len()) == want
	default:
		return fmt.Errorf("unknown condition %q", cond)
	}
	if !ok {
		return fmt.Errorf("not %s: %s", cond, show(got))
	}
	return nil
}

func has(got, want any) bool {
	switch got := got.(type) {
	case []any:
		for _, e := range got {
			if matches(e, want) {
				return true
			}
		}
		return false
	case map[string]any:
		if key, ok := want.(string); ok {
			_, ok = got[key]
			return ok
		}
	}
	return matches(got, want)
}

// matches reports whether got is want, where objects may have further keys.
func matches(got, want any) bool {
	w, ok := want.(map[string]any)
	if !ok {
		return reflect.DeepEqual(got, want)
	}
	g, ok := got.(map[string]any)
	for k, v := range w {
		if e, there := g[k]; !there || !matches(e, v) {
			return false
		}
	}
	return ok
}

func show(v any) string { b, _ := json.Marshal(v); return string(b) }

var segment = regexp.MustCompile(`"[^"]*"|[^."]+`)

// at finds the value at a path; "." is the whole.
func (r *run) at(v any, path string) (any, bool, error) {
	for _, key := range segment.FindAllString(path, -1) {
		key, err := r.expand(strings.Trim(key, `"`), nil)
		if err != nil {
			return nil, false, err
		}
		there := false
		switch in := v.(type) {
		case map[string]any:
			v, there = in[key]
		case []any:
			if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(in) {
				v, there = in[i], true
			}
		}
		if !there {
			return nil, false, nil
		}
	}
	return v, true, nil
}

var variable = regexp.MustCompile(`\$\$|\$[a-z]\w*`)

// expand replaces variables, escaped if escape is given.
func (r *run) expand(text string, escape func(string) string) (string, error) {
	var unknown error
	out := variable.ReplaceAllStringFunc(text, func(name string) string {
		if name == "$$" {
			return "$"
		}
		v, ok := r.vars[name[1:]]
		if !ok {
			unknown = fmt.Errorf("%s is not set", name)
		}
		if escape != nil {
			v = escape(v)
		}
		return v
	})
	return out, unknown
}
