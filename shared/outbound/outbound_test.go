package outbound_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/virga-im/virga/shared/outbound"
)

func TestOnlyPublicAddressesAreReached(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusFound)
	}))
	defer s.Close()
	if _, err := outbound.Client(false).Get(s.URL); !errors.Is(err, outbound.ErrForbidden) {
		t.Errorf("a request to %s: %v", s.URL, err)
	}
	// By a name, the address is known when it is dialled.
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	if _, err := outbound.Client(false).Get("http://localhost:" + port); !errors.Is(err, outbound.ErrForbidden) {
		t.Errorf("a request to localhost: %v", err)
	}
	resp, err := outbound.Client(true).Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		t.Errorf("a redirect was followed: %s", resp.Status)
	}
}

func TestWhatIsPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"1.1.1.1": true, "2606:4700:4700::1111": true, "::ffff:1.1.1.1": true, "172.32.0.1": true,
		"127.0.0.1": false, "127.8.8.8": false, "0.0.0.0": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.0.1": false,
		"169.254.169.254": false, "100.100.100.200": false, "198.18.0.1": false, "224.0.0.1": false, "255.255.255.255": false,
		"::1": false, "::": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false,
		"fe80::1": false, "fd00:ec2::254": false, "fc00::1": false, "ff02::1": false, "64:ff9b::a9fe:a9fe": false,
		"2002:7f00:1::": false, "2001:db8::1": false, "fec0::1": false, "2001::1": false,
	} {
		if got := outbound.Public(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is public: %v", address, got)
		}
	}
}
