package route

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/virga-im/virga/shared/mxerr"
)

// MaxBody is the largest JSON body that a handler reads, in bytes. It leaves an
// event of 64 KiB room to be escaped.
const MaxBody = 1 << 20

// maxDepth is how deep a body may be nested, as deep as an event. encoding/json
// gives up at 10000, also where what a client stored is put into an answer: what
// is stored must be so much flatter that every answer can hold it.
const maxDepth = 1000

// maxIdentifier is the longest identifier, in bytes, and identifiers are the path
// parameters that are one. A longer one names nothing, and fits into no key.
const maxIdentifier = 255

var identifiers = map[string]bool{"roomId": true, "eventId": true, "userId": true, "roomAlias": true, "roomIdOrAlias": true}

// reqPlan says where the fields of a request type come from.
type reqPlan struct {
	path, query []reqField
	header      int // index of the http.Header field, or -1
	rawBody     int // index of the whole body, or -1
	rawOptional bool
	hasJSON     bool
	required    []string // JSON keys
}

type reqField struct {
	index    int
	name     string
	required bool
}

var reqPlans sync.Map // reflect.Type → *reqPlan

func planOf(t reflect.Type) *reqPlan {
	if p, ok := reqPlans.Load(t); ok {
		return p.(*reqPlan)
	}
	p := &reqPlan{header: -1, rawBody: -1}
	for i := range t.NumField() {
		f := t.Field(i)
		required := f.Tag.Get("required") == "true"
		if name := f.Tag.Get("path"); name != "" {
			p.path = append(p.path, reqField{i, name, true})
		} else if name := f.Tag.Get("query"); name != "" {
			p.query = append(p.query, reqField{i, name, required})
		} else if f.Tag.Get("header") != "" {
			p.header = i
		} else if b := f.Tag.Get("body"); b != "" {
			p.rawBody, p.rawOptional = i, strings.HasSuffix(b, ",optional")
		} else if f.IsExported() {
			p.hasJSON = true
			if required {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				p.required = append(p.required, name)
			}
		}
	}
	reqPlans.Store(t, p)
	return p
}

// decode fills req, a pointer to a struct, from the request.
func decode(r *http.Request, req any) error {
	v := reflect.ValueOf(req).Elem()
	p := planOf(v.Type())
	if p.hasJSON || p.rawBody >= 0 {
		if err := decodeBody(r, p, v, req); err != nil {
			return err
		}
	}
	// Path and query come last, so that a body cannot set their fields.
	for _, f := range p.path {
		text := r.PathValue(f.name)
		if identifiers[f.name] && len(text) > maxIdentifier {
			return mxerr.InvalidParam("The %s in the path has more than %d bytes.", f.name, maxIdentifier)
		}
		if err := setText(v.Field(f.index), f.name, text); err != nil {
			return err
		}
	}
	if len(p.query) > 0 {
		q := r.URL.Query()
		for _, f := range p.query {
			values, ok := q[f.name]
			fv := v.Field(f.index)
			switch {
			case !ok && f.required:
				return mxerr.MissingParam("The query parameter %q is missing.", f.name)
			case !ok:
				fv.SetZero()
			case fv.Type() == reflect.TypeFor[[]string]():
				if !utf8.ValidString(strings.Join(values, "")) {
					return notUTF8(f.name)
				}
				fv.Set(reflect.ValueOf(values))
			default:
				if err := setText(fv, f.name, values[0]); err != nil {
					return err
				}
			}
		}
	}
	if p.header >= 0 {
		v.Field(p.header).Set(reflect.ValueOf(r.Header))
	}
	return nil
}

func decodeBody(r *http.Request, p *reqPlan, v reflect.Value, req any) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return mxerr.TooLarge("The body may have at most %d bytes.", tooLarge.Limit)
		}
		return mxerr.NotJSON("The body could not be read to its end.")
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		if p.rawBody >= 0 && !p.rawOptional {
			return mxerr.NotJSON("The body is empty; a JSON object is needed.")
		}
		body = []byte("{}")
	}
	switch {
	case !utf8.Valid(body): // encoding/json does not mind
		return mxerr.NotJSON("The body is not UTF-8.")
	case !json.Valid(body):
		return mxerr.NotJSON("The body is not valid JSON.")
	case tooDeep(body):
		return mxerr.BadJSON("The body is nested deeper than %d levels.", maxDepth)
	}
	if body[0] != '{' {
		return mxerr.BadJSON("The body must be a JSON object.")
	}
	if p.rawBody >= 0 {
		v.Field(p.rawBody).SetBytes(body)
		if !p.hasJSON {
			return nil
		}
	}
	if len(p.required) > 0 {
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(body, &keys); err != nil {
			return mxerr.BadJSON("The body must be a JSON object.")
		}
		for _, name := range p.required {
			if raw, ok := keys[name]; !ok || string(raw) == "null" {
				return mxerr.MissingParam("The key %q is missing from the body.", name)
			}
		}
	}
	if err := json.Unmarshal(body, req); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return mxerr.BadJSON("The key %q must not be a %s.", wrong.Field, wrong.Value)
		}
		if e := mxerr.As(err); e != nil {
			return e
		}
		return mxerr.BadJSON("The body does not have the expected form.")
	}
	return nil
}

// tooDeep reports whether valid JSON is nested deeper than maxDepth.
func tooDeep(text []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return false
}

func notUTF8(name string) *mxerr.Error {
	return mxerr.InvalidParam("The parameter %q is not UTF-8.", name)
}

func setText(fv reflect.Value, name, text string) error {
	switch {
	case !utf8.ValidString(text):
		return notUTF8(name)
	case fv.Kind() == reflect.Pointer:
		fv.Set(reflect.New(fv.Type().Elem()))
		return setText(fv.Elem(), name, text)
	case fv.Kind() == reflect.String:
		fv.SetString(text)
	case fv.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return mxerr.InvalidParam("The parameter %q must be true or false.", name)
		}
		fv.SetBool(text == "true")
	case fv.CanInt():
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return mxerr.InvalidParam("The parameter %q must be an integer.", name)
		}
		fv.SetInt(n)
	default:
		panic("route: unsupported type of parameter " + name)
	}
	return nil
}

// marshal encodes without escaping HTML, which would change the bytes that
// clients see in events.
func marshal(v any) ([]byte, error) {
	if raw, ok := v.(*json.RawMessage); ok {
		return *raw, nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
