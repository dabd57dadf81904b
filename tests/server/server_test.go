package server_test

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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

func TestTwoServersCannotShareAFolder(t *testing.T) {
	s := server.Start(t)
	out, err := server.Command(t, "-data", s.Dir, "-client-listen", "127.0.0.1:0").CombinedOutput()
	if err == nil {
		t.Fatalf("a second server started on %s", s.Dir)
	}
	t.Logf("%s", out)
}
