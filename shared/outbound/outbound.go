// Package outbound makes the server's own HTTP requests to addresses that
// strangers name: push gateways, other servers, pages to preview.
//
// Whoever names an address must not reach through the server what only the server
// can reach: itself, its neighbours, the credentials that a cloud gives to its
// machines. What a name resolves to is judged when it is dialled, so that a name
// which resolves to something else the second time gains nothing; redirects are
// not followed, since they are answered like anything else.
package outbound

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// ErrForbidden is the error of a request to an address that is not public.
var ErrForbidden = errors.New("the address is not public")

const (
	dialTimeout   = 10 * time.Second
	answerTimeout = 15 * time.Second
	maxHeader     = 32 << 10 // bytes
)

// Client returns a client that reaches public addresses only, or everything with
// private. A request takes a quarter of a minute at
// most. The caller bounds what it reads
// of an answer.
func Client(private bool) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	if !private {
		dialer.Control = func(_, address string, _ syscall.RawConn) error { return check(address) }
	}
	return &http.Client{
		Timeout: answerTimeout,
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			ResponseHeaderTimeout:  answerTimeout,
			MaxResponseHeaderBytes: maxHeader,
			MaxIdleConnsPerHost:    8,
			MaxConnsPerHost:        32,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func check(address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %s: %w", address, err)
	}
	if !Public(to.Addr()) {
		return fmt.Errorf("dial %s: %w", to.Addr(), ErrForbidden)
	}
	return nil
}

// Public reports whether an address is one of the internet, to which anybody may
// send a request.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// special are the networks of IANA's registries of special purposes that Go does
// not know by a name, and those that carry IPv4 addresses in IPv6 ones.
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16",
	"3fff::/20", "5f00::/16", "fec0::/10",
)

func prefixes(list ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(list))
	for i, s := range list {
		all[i] = netip.MustParsePrefix(s)
	}
	return all
}
