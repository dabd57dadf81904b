package route

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAPageShowsWhatItIsGivenAndNoMore(t *testing.T) {
	rec := httptest.NewRecorder()
	p := Page{Title: `</title><b>{{body}}"`, Status: 403, Body: "<p>{{title}}</p>", Script: "alert('{{body}}')"}
	if err := p.WriteTo(rec); err != nil {
		t.Fatal(err)
	}
	text := rec.Body.String()
	for _, want := range []string{
		"<title>&lt;/title&gt;&lt;b&gt;{{body}}&#34;</title>", "<p>{{title}}</p>\n<script>alert('{{body}}')</script>\n</body>",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	if rec.Code != 403 || !strings.Contains(rec.Header().Get("Content-Security-Policy"), "script-src 'sha256-") || !strings.HasPrefix(text, "<!DOCTYPE html>") {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	rec = httptest.NewRecorder()
	if err := (Page{Title: "T", Body: "B"}).WriteTo(rec); err != nil || rec.Code != 200 || strings.Contains(rec.Body.String(), "<script") {
		t.Errorf("%d, %v\n%s", rec.Code, err, rec.Body)
	}
}
