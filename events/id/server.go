package id

import (
	"net/netip"
	"strings"
)

// ValidServer reports whether s is a server name: a DNS name, an IPv4 address
// or an IPv6 address in brackets, with an optional port of one to five digits.
//
// https://spec.matrix.org/v1.19/appendices/#server-name
func ValidServer(s string) bool {
	host, port, ok := SplitServer(s)
	if !ok {
		return false
	}
	if port != "" && !validPort(port) {
		return false
	}
	if host[0] == '[' {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		return err == nil && addr.Is6() && addr.Zone() == ""
	}
	return validDNSName(host)
}

// SplitServer cuts a server name into host (brackets kept) and port ("" when
// there is none). ok is false when the host is empty, a bracket is missing or a
// colon has no port after it; the parts are not judged further.
func SplitServer(s string) (host, port string, ok bool) {
	if s == "" || len(s) > MaxLength {
		return "", "", false
	}
	end := strings.IndexByte(s, ':')
	if s[0] == '[' {
		end = strings.IndexByte(s, ']') + 1
		if end == 0 {
			return "", "", false
		}
	}
	if end < 0 || end == len(s) {
		return s, "", true
	}
	if s[end] != ':' || end == 0 || end == len(s)-1 {
		return "", "", false
	}
	return s[:end], s[end+1:], true
}

// IsIP reports whether the host of a server name is an address rather than a
// name: such servers are resolved without .well-known and SRV.
func IsIP(server string) bool {
	host, _, ok := SplitServer(server)
	if !ok {
		return false
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

func validPort(s string) bool {
	if len(s) > 5 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// validDNSName keeps to the grammar of the spec: letters, digits, hyphens and
// dots. Empty labels are allowed by it, and events with such names exist, so
// they are not refused; they will not resolve.
func validDNSName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !alphanumeric(c) && c != '-' && c != '.' {
			return false
		}
	}
	return s != ""
}
