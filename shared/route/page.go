package route

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
)

// Page is a page for a person, in the server's one style.
type Page struct {
	Title string
	// Status is that of the answer; zero is 200.
	Status int
	// Body is the HTML inside of the body, and Script what runs after it.
	Body   template.HTML
	Script string
	// Allow are directives of the Content-Security-Policy. Without them the page may
	// show itself and run Script, and is shown in no frame.
	Allow []string
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").
	Funcs(template.FuncMap{"script": func(s string) template.HTML { return template.HTML("<script>" + s + "</script>") }}).
	Parse(pageText))

// WriteTo answers with the page. Its address is told to nobody, as it may hold a
// secret.
func (p Page) WriteTo(w http.ResponseWriter) error {
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, p); err != nil {
		return err
	}
	policy := []string{"default-src 'none'", "style-src 'unsafe-inline'", "base-uri 'none'", "frame-ancestors 'none'"}
	if p.Script != "" {
		hash := sha256.Sum256([]byte(p.Script))
		policy = append(policy, "script-src 'sha256-"+base64.StdEncoding.EncodeToString(hash[:])+"'")
	}
	if policy = append(policy, p.Allow...); !strings.Contains(strings.Join(p.Allow, ";"), "form-action") {
		policy = append(policy, "form-action 'none'")
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", strings.Join(policy, "; "))
	h.Set("Referrer-Policy", "no-referrer")
	if p.Status != 0 {
		w.WriteHeader(p.Status)
	}
	_, _ = w.Write(body.Bytes()) // the client may be gone, which is no error of ours
	return nil
}
