package interactive

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/accounts"
)

// What others wrote is text on the page, wherever it is shown.
func TestThePageEscapesWhatItShows(t *testing.T) {
	const bad = `"><script>alert('x')</script>&`
	for _, p := range []page{
		{Type: "m.login.password", Session: bad, Problem: bad, Stage: accounts.Stage{UserID: bad}},
		{Type: "m.login.registration_token", Session: bad, Problem: bad},
		{Type: "m.login.password", Problem: bad, Gone: true},
		{Stage: accounts.Stage{Completed: true}, Problem: bad},
	} {
		body := string(p.body())
		if strings.Contains(body, "<script") || strings.Contains(body, `=""`) {
			t.Errorf("%+v: %s", p, body)
		}
		shown := ""
		d := xml.NewDecoder(strings.NewReader("<body>" + body + "</body>"))
		d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v\n%s", err, body)
			}
			switch token := token.(type) {
			case xml.CharData:
				shown += string(token) + "\n"
			case xml.StartElement:
				for _, a := range token.Attr {
					shown += a.Value + "\n"
				}
			}
		}
		for name, want := range map[string]bool{
			bad:                      !p.Completed,
			"Enter the password of ": p.UserID != "",
			"password":               p.Type == "m.login.password" && !p.Gone,
			"Registration token":     p.Type == "m.login.registration_token",
			"Continue":               !p.Completed && !p.Gone,
			"Thank you":              p.Completed,
		} {
			if strings.Contains(shown, name) != want {
				t.Errorf("%+v: %q is shown: %v, want %v\n%s", p, name, !want, want, body)
			}
		}
	}
}
