package interactive

import (
	_ "embed"
	"html/template"
	"net/http"
	"strings"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
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

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// answer writes the page. What a person can read is said on it; any other error
// is answered as everywhere.
func answer(w http.ResponseWriter, p page, err error) error {
	status := http.StatusOK
	if e := mxerr.As(err); e != nil {
		status, p.Problem, p.Gone = e.Status, e.Message, e.Code == "M_NOT_FOUND"
	} else if err != nil {
		return err
	}
	var body strings.Builder
	if err := pageTemplate.Execute(&body, p); err != nil {
		return err
	}
	shown := route.Page{Title: "Confirm", Status: status, Body: template.HTML(body.String()), Allow: []string{"form-action 'self'"}}
	if p.Completed {
		shown.Script = done
	}
	return shown.WriteTo(w)
}
