package interactive

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/mxerr"
)

// page is what the template shows.
type page struct {
	accounts.Stage
	Type, Session string
	// Problem is why it did not work, if it did not.
	Problem string
	// Gone says that there is nothing to try again.
	Gone bool
}

//go:embed page.html
var pageText string

// done tells the client that it may go on. It is the script of the specification.
const done = `if (window.onAuthDone) {
    window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
    window.opener.postMessage("authDone", "*");
}`

var pageTemplate = template.Must(template.New("page").
	Funcs(template.FuncMap{"done": func() template.HTML { return template.HTML("<script>" + done + "</script>") }}).
	Parse(pageText))

// answer writes the page. What a person can read is said on it; any other error
// is answered as everywhere.
func answer(w http.ResponseWriter, p page, err error) error {
	status := http.StatusOK
	if e := mxerr.As(err); e != nil {
		status, p.Problem, p.Gone = e.Status, e.Message, e.Code == "M_NOT_FOUND"
	} else if err != nil {
		return err
	}
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, p); err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(done))
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; script-src 'sha256-"+
		base64.StdEncoding.EncodeToString(hash[:])+"'")
	h.Set("Referrer-Policy", "no-referrer") // the address has the session
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
	return nil
}
