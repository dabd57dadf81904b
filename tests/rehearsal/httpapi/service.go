package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
)

// source is what the parameters of an integration are made of.
type source struct {
	r          *http.Request
	body       []byte
	parameters map[string]string
	o          Options
}

// call runs an integration with another service, and writes its answer as the
// response parameters of its status say.
func (a *API) call(ctx context.Context, w http.ResponseWriter, i *Integration, from source) {
	c := Call{Subtype: i.Subtype, Role: i.Role, Parameters: map[string]string{}}
	for name, expression := range i.RequestParameters {
		v, err := resolve(expression, from.value)
		if err != nil {
			a.failed(ctx, w, i, fmt.Errorf("parameter %s: %w", name, err))
			return
		}
		c.Parameters[name] = v
	}
	if a.o.Call == nil {
		a.failed(ctx, w, i, fmt.Errorf("there is no %s here", i.Subtype))
		return
	}
	resp, err := a.o.Call(ctx, c)
	if err != nil {
		a.failed(ctx, w, i, err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.failed(ctx, w, i, err)
		return
	}
	status, header := resp.StatusCode, resp.Header
	answered := func(name string) (string, error) { return responseValue(name, resp, body) }
	for to, expression := range i.ResponseParameters[fmt.Sprint(status)] {
		v, err := resolve(expression, answered)
		if err == nil {
			err = change(&status, header, to, v)
		}
		if err != nil {
			a.failed(ctx, w, i, fmt.Errorf("response parameter %s: %w", to, err))
			return
		}
	}
	for name, values := range header {
		if name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have gone
}

// change does what one response parameter says.
func change(status *int, header http.Header, to, value string) error {
	what, of, _ := strings.Cut(to, ":")
	name, isHeader := strings.CutPrefix(of, "header.")
	switch {
	case of == "statuscode" && what == "overwrite":
		if _, err := fmt.Sscanf(value, "%3d", status); err != nil || *status < 200 || *status > 599 {
			return fmt.Errorf("%q is no status", value)
		}
	case isHeader && what == "overwrite":
		header.Set(name, value)
	case isHeader && what == "append":
		header.Add(name, value)
	case isHeader && what == "remove":
		header.Del(name)
	default:
		return fmt.Errorf("it is not understood")
	}
	return nil
}

var expression = regexp.MustCompile(`\$\{([^}]+)\}`)

// resolve replaces an expression such as $request.path.place, or those that are
// in a text as ${request.path.place}.
func resolve(text string, value func(string) (string, error)) (string, error) {
	if name, ok := strings.CutPrefix(text, "$"); ok && !strings.HasPrefix(name, "{") {
		return value(name)
	}
	var failed error
	out := expression.ReplaceAllStringFunc(text, func(e string) string {
		v, err := value(e[2 : len(e)-1])
		if err != nil {
			failed = err
		}
		return v
	})
	return out, failed
}

// value is a part of the request.
func (s source) value(name string) (string, error) {
	of, key, _ := strings.Cut(name, ".")
	kind, key, _ := strings.Cut(key, ".")
	switch of + "." + kind {
	case "request.path":
		if v, ok := s.parameters[key]; ok {
			return v, nil
		}
		if key == "" {
			return Seen(s.r.URL.Path), nil
		}
	case "request.querystring":
		return s.r.URL.Query().Get(key), nil
	case "request.header":
		return s.r.Header.Get(key), nil
	case "request.body":
		return fromJSON(s.body, key)
	case "context.apiId":
		return s.o.ID, nil
	case "context.accountId":
		return s.o.Account, nil
	}
	return "", fmt.Errorf("$%s is not known", name)
}

func responseValue(name string, resp *http.Response, body []byte) (string, error) {
	if key, ok := strings.CutPrefix(name, "response.header."); ok {
		return resp.Header.Get(key), nil
	}
	if key, ok := strings.CutPrefix(name, "response.body"); ok {
		return fromJSON(body, strings.TrimPrefix(key, "."))
	}
	return "", fmt.Errorf("$%s is not known", name)
}

func fromJSON(text []byte, key string) (string, error) {
	if key == "" {
		return string(text), nil
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return "", err
	}
	if v, ok := fields[key].(string); ok {
		return v, nil
	}
	b, err := json.Marshal(fields[key])
	return string(b), err
}
