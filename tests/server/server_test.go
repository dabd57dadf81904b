package server_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/virga-im/virga/tests/server"
)

// The budgets of the local server. A run with the race detector or on a busy
// machine is not measured against them: see TestStartBudget.
const (
	startBudget = 60 * time.Millisecond
	stopBudget  = time.Second
	rssBudget   = 45 << 20
)

func TestStartBudget(t *testing.T) {
	if server.RaceEnabled {
		t.Skip("the race detector takes several times the memory and time")
	}
	s := server.Start(t)
	// The best of some starts is what the program needs; the others are what the
	// machine did meanwhile.
	took := []time.Duration{s.Took}
	for range 9 {
		s.Restart()
		took = append(took, s.Took)
	}
	slices.Sort(took)
	if code, body := s.Get("/_matrix/client/versions"); code != http.StatusOK {
		t.Fatalf("versions: %d %s", code, body)
	}
	rss, err := s.RSS()
	if err != nil {
		t.Skip("memory is only measured on Linux")
	}
	t.Logf("start to listening: best %s, median %s; %.1f MB idle", took[0], took[len(took)/2], float64(rss)/(1<<20))
	if took[0] > startBudget {
		t.Errorf("starting takes %s, more than %s", took[0], startBudget)
	}
	if rss > rssBudget {
		t.Errorf("an idle server takes %d bytes, more than %d", rss, rssBudget)
	}
}

func TestStopsWithinASecondAndStartsAgain(t *testing.T) {
	s := server.Start(t)
	if took := s.Stop(); took > stopBudget {
		t.Errorf("SIGTERM took %s", took)
	}
	s.Restart()
	if code, _ := s.Get("/health"); code != http.StatusOK {
		t.Errorf("health after a restart: %d", code)
	}
}

// TestStoppingUnderLoadLosesNothing ends a server that is busy. What was
// acknowledged is there afterwards, and no client is told that the server failed.
func TestStoppingUnderLoadLosesNothing(t *testing.T) {
	s := server.Start(t)
	do := func(method, path, token, body string) (status int, answer map[string]any, err error) {
		req, err := http.NewRequest(method, s.URL+"/_matrix/client/v3"+path, strings.NewReader(body))
		if err != nil {
			return 0, nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		return resp.StatusCode, answer, json.NewDecoder(resp.Body).Decode(&answer)
	}
	must := func(method, path, token, body string) map[string]any {
		t.Helper()
		status, answer, err := do(method, path, token, body)
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s %s: %d %v, %v", method, path, status, answer, err)
		}
		return answer
	}
	token := must("POST", "/register", "", `{"username":"alice","password":"wonderland1","auth":{"type":"m.login.dummy"}}`)["access_token"].(string)
	room := url.PathEscape(must("POST", "/createRoom", token, "{}")["room_id"].(string))

	const senders = 8
	acknowledged := [senders][]string{}
	var busy, all sync.WaitGroup
	for n := range senders {
		busy.Add(1)
		isBusy := sync.OnceFunc(busy.Done)
		all.Go(func() {
			defer isBusy()
			for i := 0; ; i++ {
				status, answer, err := do("PUT", fmt.Sprintf("/rooms/%s/send/m.room.message/%d-%d", room, n, i), token, `{"msgtype":"m.text","body":"busy"}`)
				if i == 5 {
					isBusy()
				}
				if err != nil {
					return // the connection was closed
				}
				if status != http.StatusOK {
					t.Errorf("a client was answered %d %v", status, answer)
					return
				}
				acknowledged[n] = append(acknowledged[n], answer["event_id"].(string))
			}
		})
	}
	busy.Wait()
	if took := s.Stop(); took > stopBudget && !server.RaceEnabled {
		t.Errorf("SIGTERM took %s", took)
	}
	all.Wait()
	s.Restart()
	for _, events := range acknowledged {
		for _, id := range events {
			must("GET", "/rooms/"+room+"/event/"+url.PathEscape(id), token, "")
		}
	}
}

func TestStartsAfterKill(t *testing.T) {
	s := server.Start(t)
	for range 3 {
		s.Kill()
		s.Restart()
	}
	if code, _ := s.Get("/health"); code != http.StatusOK {
		t.Errorf("health after kills: %d", code)
	}
}

func TestBothAPIsAreOnTheTLSListener(t *testing.T) {
	s := server.Start(t, "-federation-listen", "127.0.0.1:0", "-server-name", "hs1")
	get := func() []byte {
		t.Helper()
		var cert []byte
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, // it is self-signed, and judged here:
			VerifyConnection: func(cs tls.ConnectionState) error {
				cert = cs.PeerCertificates[0].Raw
				return cs.PeerCertificates[0].VerifyHostname("hs1")
			},
		}}}
		defer client.CloseIdleConnections()
		resp, err := client.Get(s.Federation + "/_matrix/client/versions")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("versions over TLS: %d", resp.StatusCode)
		}
		return cert
	}
	before := get()
	s.Restart()
	if !slices.Equal(before, get()) {
		t.Error("the self-signed certificate changed with a restart")
	}
	if fi, err := os.Stat(filepath.Join(s.Dir, "tls.key")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the private key is not private: %v %v", fi, err)
	}
}

// TestReadmeLetsTwoPeopleMeet runs what the README shows to newcomers.
func TestReadmeLetsTwoPeopleMeet(t *testing.T) {
	server.Need(t, "curl")
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```sh\n(.*?)```").FindSubmatch(b)
	if m == nil {
		t.Fatal("README.md shows no sh block")
	}
	s := server.Start(t)
	out, err := exec.Command("sh", "-c", strings.ReplaceAll(string(m[1]), "http://localhost:8008", s.URL)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"body":"Sugar?"`) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestEachRequestHasALineInTheLog(t *testing.T) {
	s := server.Start(t)
	s.Get("/_matrix/client/versions")
	s.Get("/_matrix/client/v3/account/whoami?access_token=syt_secret")
	s.Stop()
	for _, want := range []string{
		`msg=request method=GET route=getVersions request_id=\w+ status=200 ms=[\d.]+`,
		`msg=request method=GET route=getTokenOwner request_id=\w+ errcode=M_UNKNOWN_TOKEN status=401 ms=[\d.]+`,
	} {
		if !regexp.MustCompile(want).MatchString(s.Log()) {
			t.Errorf("the log has no line like %s:\n%s", want, s.Log())
		}
	}
	if strings.Contains(s.Log(), "syt_secret") {
		t.Error("the log has an access token")
	}
}

// TestGreetingSaysWhatToDoNext also holds the line that other programs wait for.
func TestDataIsForNobodyElse(t *testing.T) {
	s := server.Start(t, "-federation-listen", "127.0.0.1:0")
	files := 0
	err := filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == s.Dir {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %s", path, info.Mode())
		}
		files++
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestGreetingSaysWhatToDoNext(t *testing.T) {
	for flags, want := range map[string]string{
		"-registration open":                 `curl http://127\.0\.0\.1:\d+/_matrix/client/v3/register -d`,
		"-registration closed":               `start with -registration open`,
		"-registration-shared-secret s3cret": `register_new_matrix_user -k`,
		"-federation-listen 127.0.0.1:0":     `  federation API  https://127\.0\.0\.1:\d+ \(certificate: self-signed\)\n`,
	} {
		dir := t.TempDir()
		cmd := server.Command(t, append([]string{"-data", dir, "-client-listen", "127.0.0.1:0"}, strings.Fields(flags)...)...)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		greeting := ""
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			greeting += lines.Text() + "\n"
			if strings.Contains(lines.Text(), "^C") {
				break
			}
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("^C: %v", err)
		}
		for _, re := range []string{want, `\n  client API      http://127\.0\.0\.1:\d+\n`, `\n  data            ` + regexp.QuoteMeta(dir) + `\n`} {
			if !regexp.MustCompile(re).MatchString(greeting) {
				t.Errorf("%s: no %s in\n%s", flags, re, greeting)
			}
		}
		if strings.Contains(greeting, "s3cret") {
			t.Errorf("the greeting tells the secret:\n%s", greeting)
		}
	}
}

func TestMistakesEndTheStart(t *testing.T) {
	s := server.Start(t)
	stopped := server.Start(t)
	stopped.Stop()
	given := stopped.Dir
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("just text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"-server-name https://example.org":                           "is not a server name",
		"-config /no/such/file.yaml":                                 "no such file",
		"-client-listen " + strings.TrimPrefix(s.URL, "http://"):     "address already in use; -client-listen chooses another address",
		"-client-listen 127.0.0.1:0 -data " + s.Dir:                  "is in use by another process",
		"-server-name other.example.org -data " + given:              "is that of the server name localhost, not of other.example.org",
		"-federation-listen 127.0.0.1:0 -tls-cert /no -tls-key /key": "load the certificate",
		"-federation-listen " + strings.TrimPrefix(s.URL, "http://"): "address already in use; -federation-listen chooses another address",
		"-config " + text:   "write keys and values, such as server_name: example.org",
		"-data " + text:     "not a directory; -data chooses another folder",
		"-registraton open": "-registraton; did you mean -registration?",
	} {
		if !strings.Contains(args, "-data") {
			args += " -data " + t.TempDir()
		}
		if !strings.Contains(args, "-client-listen") {
			args += " -client-listen 127.0.0.1:0"
		}
		out, err := server.Command(t, strings.Fields(args)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
}

// TestLimitsCountWhoIsBehindATrustedProxy guesses passwords from one machine.
func TestLimitsCountWhoIsBehindATrustedProxy(t *testing.T) {
	for _, tt := range []struct {
		flags   []string
		clients int // that X-Forwarded-For claims to be there
		limited bool
	}{
		{nil, 1, true},
		{nil, 40, true}, // anybody can write a header
		{[]string{"-trusted-proxies", "192.0.2.1"}, 40, true},
		{[]string{"-trusted-proxies", "192.0.2.1,127.0.0.0/8"}, 40, false},
		{[]string{"-trusted-proxies", "127.0.0.1"}, 1, true},
	} {
		s := server.Start(t, append(tt.flags, "-rate-limits", "on")...)
		limited := false
		for i := range 40 {
			req, err := http.NewRequest("POST", s.URL+"/_matrix/client/v3/login", strings.NewReader(`{"type":"m.login.token"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i%tt.clients))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			limited = limited || resp.StatusCode == http.StatusTooManyRequests
		}
		if limited != tt.limited {
			t.Errorf("%v and %d clients: limited is %v", tt.flags, tt.clients, limited)
		}
	}
}

// A start that is refused leaves the folder as it is, also that of a server that
// runs.
func TestARefusedStartTouchesNothing(t *testing.T) {
	s := server.Start(t, "-federation-listen", "127.0.0.1:0")
	certificate := func() string {
		b, err := os.ReadFile(filepath.Join(s.Dir, "tls.crt"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := certificate()
	refuse := func(flags ...string) {
		t.Helper()
		flags = append([]string{"-client-listen", "127.0.0.1:0", "-federation-listen", "127.0.0.1:0"}, flags...)
		if out, err := server.Command(t, flags...).CombinedOutput(); err == nil {
			t.Errorf("%v started:\n%s", flags, out)
		}
	}
	refuse("-data", s.Dir, "-server-name", "other.example.org") // in use
	s.Stop()
	refuse("-data", s.Dir, "-server-name", "other.example.org")
	if certificate() != before {
		t.Error("the certificate is another one")
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	s.Restart()
	refuse("-data", fresh, "-client-listen", strings.TrimPrefix(s.URL, "http://"))
	if _, err := os.Stat(fresh); err == nil {
		t.Error("there is a folder for a server that never ran")
	}
}

// Who may not write the folder is told so, and not that somebody else uses it.
func TestAFolderOfAnotherUserIsNotInUse(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	s := server.Start(t)
	s.Stop()
	if err := os.Chmod(filepath.Join(s.Dir, "LOCK"), 0o400); err != nil {
		t.Fatal(err)
	}
	out, err := server.Command(t, "-data", s.Dir, "-client-listen", "127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "permission denied; -data chooses another folder") || strings.Contains(string(out), "in use") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestConfigurationFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "virga.yaml")
	const yaml = "server_name: example.org\npublic_baseurl: https://matrix.example.org/\nturn_uris: [\"turn:a\"]\nturn_shared_secret: x\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	s := server.Start(t, "-config", file)
	if _, body := s.Get("/.well-known/matrix/client"); !strings.Contains(body, `"https://matrix.example.org"`) {
		t.Errorf("well-known: %s", body)
	}
	if _, body := s.Get("/"); !strings.Contains(body, "example.org is a Matrix homeserver") {
		t.Errorf("page: %s", body)
	}
}

// TestWaitingClientsAreAnsweredAtTheEnd: a client in a long poll gets an empty
// answer from a server that stops, and not a broken connection.
func TestWaitingClientsAreAnsweredAtTheEnd(t *testing.T) {
	s := server.Start(t)
	resp, err := http.Post(s.URL+"/_matrix/client/v3/register", "application/json",
		strings.NewReader(`{"username":"alice","password":"wonderland1","auth":{"type":"m.login.dummy"}}`))
	if err != nil {
		t.Fatal(err)
	}
	var alice struct {
		Token string `json:"access_token"`
	}
	err = json.NewDecoder(resp.Body).Decode(&alice)
	resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	sync := func(query string) (next string, err error) {
		resp, err := http.Get(s.URL + "/_matrix/client/v3/sync?access_token=" + alice.Token + query)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		var answer struct {
			Next string `json:"next_batch"`
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		if err == nil && (resp.StatusCode != http.StatusOK || answer.Next == "") {
			err = fmt.Errorf("sync answered %s", resp.Status)
		}
		return answer.Next, err
	}
	since, err := sync("")
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := sync("&timeout=30000&since=" + since)
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("a client with nothing to hear did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if took := s.Stop(); took > stopBudget {
		t.Errorf("SIGTERM took %s", took)
	}
	if err := <-answered; err != nil {
		t.Errorf("the waiting client: %v", err)
	}
	s.Restart()
	if _, err := sync("&since=" + since); err != nil {
		t.Errorf("its next request: %v", err)
	}
}

func TestFaultsAreWhatNobodyShouldMeet(t *testing.T) {
	s := server.Start(t)
	for _, path := range []string{"/_matrix/client/versions", "/_matrix/client/v3/sync", "/_matrix/client/v3/no_such_endpoint"} {
		s.Get(path)
	}
	s.Kill()
	if faults := s.Faults(); len(faults) != 1 || !strings.Contains(faults[0], "no_such_endpoint") {
		t.Errorf("faults are %q, want one, of the endpoint that there is not", faults)
	}
}
