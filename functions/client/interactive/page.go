package interactive

import (
	"net/http"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
)

// page is what a person is shown.
type page struct {
	accounts.Stage
	Type, Session string
	// Problem is why it did not work, if it did not.
	Problem string
	// Gone says that there is nothing to try again.
	Gone bool
}

// done tells the client that it may go on. It is the script of the specification.
const done = `if (window.onAuthDone) {
    window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
    window.opener.postMessage("authDone", "*");
}`

// body is a form for what the stage asks for.
func (p page) body() (b route.HTML) {
	if p.Completed {
		return "<p>Thank you. You can close this page and go back to the app.</p>"
	}
	if p.Problem != "" {
		b += `<p class="problem" role="alert">` + route.Escape(p.Problem) + "</p>\n"
	}
	if p.Gone {
		return b
	}
	b += `<form method="post">
<input type="hidden" name="session" value="` + route.Escape(p.Session) + "\">\n"
	switch p.Type {
	case "m.login.password":
		if p.UserID != "" {
			b += "<p>Enter the password of " + route.Escape(p.UserID) + ".</p>\n"
		} else {
			b += `<label for="user">User name</label>
<input id="user" name="user" autocomplete="username" required autofocus>
`
		}
		b += `<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
`
	case "m.login.registration_token":
		b += `<label for="token">Registration token</label>
<input id="token" name="token" autocomplete="off" required autofocus>
`
	}
	return b + "<button>Continue</button>\n</form>"
}

// answer writes the page. What a person can read is said on it; any other error
// is answered as everywhere.
func answer(w http.ResponseWriter, p page, err error) error {
	status := http.StatusOK
	if e := mxerr.As(err); e != nil {
		status, p.Problem, p.Gone = e.Status, e.Message, e.Code == "M_NOT_FOUND"
	} else if err != nil {
		return err
	}
	shown := route.Page{Title: "Confirm", Status: status, Body: p.body(), Allow: []string{"form-action 'self'"}}
	if p.Completed {
		shown.Script = done
	}
	return shown.WriteTo(w)
}
