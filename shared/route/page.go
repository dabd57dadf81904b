package route

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html"
	"net/http"
	"strings"
)

// HTML is text in which what others wrote is escaped.
//
// There are no templates: a program with text/template in it has every method of
// every type it knows, because a template may name any, and is nearly twice as
// large, which every cold start of a function pays for.
type HTML string

// Escape returns the text as it is put between tags, or into an attribute in
// quotes.
func Escape(text string) HTML { return HTML(html.EscapeString(text)) }

// Page is a page for a person, in the server's one style.
type Page struct {
	Title string
	// Status is that of the answer; zero is 200.
	Status int
	// Body is what the page shows, and Script what runs after it.
	Body   HTML
	Script string
	// Allow are directives of the Content-Security-Policy. Without them the page may
	// show itself and run Script, and is shown in no frame.
	Allow []string
}

//go:embed page.html
var pageText string

// WriteTo answers with the page. Its address is told to nobody, as it may hold a
// secret.
func (p Page) WriteTo(w http.ResponseWriter) error {
	body := string(p.Body)
	policy := []string{"default-src 'none'", "style-src 'unsafe-inline'", "base-uri 'none'", "frame-ancestors 'none'"}
	if p.Script != "" {
		body += "\n<script>" + p.Script + "</script>"
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
	// What is put in is not looked at again.
	page := strings.NewReplacer("{{title}}", string(Escape(p.Title)), "{{body}}", body)
	_, _ = page.WriteString(w, pageText) // the client may be gone, which is no error of ours
	return nil
}
