package process

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestTheClientIsTheLastHopThatIsNotTrusted(t *testing.T) {
	var seen string
	serve := func(trusted ...string) http.Handler {
		var prefixes []netip.Prefix
		for _, p := range trusted {
			prefixes = append(prefixes, netip.MustParsePrefix(p))
		}
		return behindProxies(prefixes, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.RemoteAddr }))
	}
	proxy := serve("10.0.0.0/8", "::1/128", "192.0.2.80/32")
	const peer, stranger = "10.1.2.3:4000", "203.0.113.5:4000"
	for _, tt := range []struct {
		name      string
		h         http.Handler
		peer      string
		forwarded []string
		want      string
	}{
		{"nobody is trusted", serve(), peer, []string{"198.51.100.1"}, peer},
		{"a stranger forges", proxy, stranger, []string{"198.51.100.1"}, stranger},
		{"a stranger claims to be a proxy", proxy, stranger, []string{"10.1.2.3"}, stranger},
		{"no header", proxy, peer, nil, peer},
		{"one proxy", proxy, peer, []string{"198.51.100.1"}, "198.51.100.1:0"},
		{"a client forges, one proxy", proxy, peer, []string{"192.0.2.66, 198.51.100.1"}, "198.51.100.1:0"},
		{"a client forges a whole chain", proxy, peer, []string{"192.0.2.66, 10.9.9.9, 198.51.100.1"}, "198.51.100.1:0"},
		{"a client forges in a header of its own", proxy, peer, []string{"192.0.2.66", "198.51.100.1"}, "198.51.100.1:0"},
		{"two proxies", proxy, peer, []string{"192.0.2.66, 198.51.100.1, 192.0.2.80"}, "198.51.100.1:0"},
		{"a client in the network of the proxies", proxy, peer, []string{"10.7.7.7"}, "10.7.7.7:0"},
		{"IPv6", proxy, "[::1]:4000", []string{"2001:db8::7"}, "[2001:db8::7]:0"},
		{"IPv4 in IPv6", proxy, "[::ffff:10.1.2.3]:4000", []string{"::ffff:198.51.100.1"}, "198.51.100.1:0"},
		{"ports", proxy, peer, []string{"198.51.100.1:9999"}, "198.51.100.1:0"},
		{"IPv6 with a port", proxy, peer, []string{"[2001:db8::7]:9999"}, "[2001:db8::7]:0"},
		{"brackets alone", proxy, peer, []string{"[2001:db8::7]"}, "[2001:db8::7]:0"},
		{"no address", proxy, peer, []string{"unknown"}, peer},
		{"no address behind a proxy", proxy, peer, []string{"198.51.100.1, _hidden, 192.0.2.80"}, "192.0.2.80:0"},
		{"an empty header", proxy, peer, []string{""}, peer},
		{"a peer without an address", proxy, "@", []string{"198.51.100.1"}, "@"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.peer
		r.Header["X-Forwarded-For"] = tt.forwarded
		tt.h.ServeHTTP(httptest.NewRecorder(), r)
		if seen != tt.want || r.RemoteAddr != tt.peer {
			t.Errorf("%s: the client is %s, not %s", tt.name, seen, tt.want)
		}
	}
}
