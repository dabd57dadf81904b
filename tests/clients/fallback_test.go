package clients

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os/exec"
	"testing"

	"github.com/virga-im/virga/tests/server"
)

// openPage is a browser that is just large enough: it opens the page, runs its
// script if the policy allows it, fills in the form, and tells what the app gets.
const openPage = `
const crypto = require('crypto'), vm = require('vm');
const [base, query, password, app] = process.argv.slice(1);
(async () => {
  const page = await fetch(base + '/_matrix/static/client/login/' + query);
  const html = await page.text();
  const script = html.match(/<script>([^]*)<\/script>/)[1];
  const hash = crypto.createHash('sha256').update(script).digest('base64');
  if (!page.headers.get('content-security-policy').includes("'sha256-" + hash + "'")) throw new Error('the policy forbids the script');
  const elements = {user: {value: 'alice'}, password: {value: password}};
  for (const [, id] of html.matchAll(/ id="(\w+)"/g)) {
    elements[id] ??= {};
    elements[id].addEventListener = (type, handle) => { elements[id][type] = handle; };
  }
  const window = {location: new URL(base + '/' + query)};
  let answer = null;
  if (app === 'app') window.matrixLogin = {onLogin: a => { answer = a; }};
  vm.runInNewContext(script, {window, document: {getElementById: id => elements[id]}, URLSearchParams, fetch: (path, o) => fetch(base + path, o)});
  let stopped = false;
  await elements.login.submit({preventDefault() { stopped = true; }});
  console.log(JSON.stringify({answer, problem: elements.problem.textContent, stopped, done: elements.done.hidden === false}));
})();`

func TestThePageLogsIn(t *testing.T) {
	node := server.Need(t, "node")
	s := server.Start(t)
	resp, err := http.Post(s.URL+"/_matrix/client/v3/register", "application/json",
		bytes.NewBufferString(`{"username":"alice","password":"wonderland1","inhibit_login":true,"auth":{"type":"m.login.dummy"}}`))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("register: %v, %v", resp, err)
	}
	resp.Body.Close()
	type outcome struct {
		Answer *struct {
			UserID   string `json:"user_id"`
			DeviceID string `json:"device_id"`
			Token    string `json:"access_token"`
			Refresh  string `json:"refresh_token"`
		}
		Problem       string
		Stopped, Done bool
	}
	open := func(query, password, app string) (o outcome) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), node, "-e", openPage, s.URL, query, password, app).CombinedOutput()
		if err != nil || json.Unmarshal(out, &o) != nil {
			t.Fatalf("%s%v", out, err)
		}
		if !o.Stopped {
			t.Error("the form is sent as well")
		}
		return o
	}
	if o := open("", "wrong", "app"); o.Answer != nil || o.Problem == "" || o.Done {
		t.Errorf("with a wrong password: %+v", o)
	}
	if o := open("", "wonderland1", "no app"); o.Answer != nil || o.Problem == "" {
		t.Errorf("without an app: %+v", o)
	}
	o := open("?device_id=GHTYAJCE&refresh_token=true&user=bob&type=m.login.token", "wonderland1", "app")
	if a := o.Answer; a == nil || a.UserID != "@alice:localhost" || a.DeviceID != "GHTYAJCE" || a.Token == "" || a.Refresh == "" || o.Problem != "" || !o.Done {
		t.Errorf("alice: %+v, %+v", o, a)
	}
}
