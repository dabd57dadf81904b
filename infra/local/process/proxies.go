package process

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// behindProxies gives requests that come through the trusted proxies the address
// of the client, which limits count by. Each proxy appends the address that it
// was reached from to X-Forwarded-For; what is left of the last address that no
// trusted proxy has is what a client made up.
func behindProxies(trusted []netip.Prefix, h http.Handler) http.Handler {
	if len(trusted) == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if client, ok := clientOf(trusted, r); ok {
			r = r.WithContext(r.Context())
			r.RemoteAddr = net.JoinHostPort(client.String(), "0")
		}
		h.ServeHTTP(w, r)
	})
}

// clientOf follows the hops of a request back to the first that is no trusted
// proxy. It reports false for the peer itself.
func clientOf(trusted []netip.Prefix, r *http.Request) (client netip.Addr, ok bool) {
	client, known := hop(r.RemoteAddr)
	if !known {
		return client, false
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(hops) {
		if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(client) }) {
			break
		}
		before, known := hop(strings.TrimSpace(text))
		if !known {
			break // the proxy that wrote it is the last of whom anything is known
		}
		client, ok = before, true
	}
	return client, ok
}

// hop reads an address, with a port or without.
func hop(text string) (netip.Addr, bool) {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return a.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return a.Unmap().WithZone(""), err == nil
}
