package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/virga-im/virga/events/id"
)

// setting is one thing to decide. Its flag is written with hyphens, its key in
// the file with underscores unless administrators know another word.
type setting struct {
	flag  string
	key   string
	value string // what the flag takes, for the usage
	usage string
	// bare flags may be given without a value.
	bare bool
	// pending settings are accepted and have no effect yet.
	pending bool
	set     func(c *Config, v string) error
}

func (s setting) env() string {
	return "VIRGA_" + strings.ToUpper(strings.ReplaceAll(s.flag, "-", "_"))
}

// word is the setting's key in a file.
func (s setting) word() string {
	if s.key != "" {
		return s.key
	}
	return strings.ReplaceAll(s.flag, "-", "_")
}

// settings is the one list of what can be decided.
var settings = []setting{
	{flag: "server-name", value: "name", usage: "the part after the colon of user ids, for good; localhost by default",
		set: func(c *Config, v string) error { c.ServerName = v; return serverName(v) }},
	{flag: "public-baseurl", value: "url", usage: "where clients reach this server; by default the HTTP listener, if that is on loopback",
		set: func(c *Config, v string) error {
			c.PublicBaseURL = strings.TrimRight(v, "/")
			return webURL(v)
		}},
	{flag: "data", value: "folder", usage: "the folder that holds everything; data by default",
		set: func(c *Config, v string) error { c.Data = v; return notEmpty(v) }},
	{flag: "client-listen", value: "address", usage: "address of the HTTP listener; 127.0.0.1:8008 by default, and port 0 takes a free one",
		set: func(c *Config, v string) error { c.ClientListen = v; return address(v) }},
	{flag: "federation-listen", value: "address", usage: "address of the TLS listener, such as :8448; none by default",
		set: func(c *Config, v string) error { c.FederationListen = v; return optional(v, address) }},
	{flag: "trusted-proxies", value: "addresses", usage: "reverse proxies whose X-Forwarded-For says who the client is, such as 127.0.0.1,10.0.0.0/8; none by default",
		set: func(c *Config, v string) (err error) { c.TrustedProxies, err = networks(v); return err }},
	{flag: "tls-cert", key: "tls_certificate_path", value: "file", usage: "certificates of the TLS listener; self-signed by default",
		set: func(c *Config, v string) error { c.TLSCert = v; return nil }},
	{flag: "tls-key", key: "tls_private_key_path", value: "file", usage: "private key of the TLS listener",
		set: func(c *Config, v string) error { c.TLSKey = v; return nil }},
	{flag: "signing-key", key: "signing_key_path", value: "file", usage: "signing key to take over from another homeserver; by default one is made",
		set: func(c *Config, v string) error { c.SigningKey = v; return nil }},
	{flag: "registration", value: "who", usage: "who may make an account: closed (the default), token or open",
		set: func(c *Config, v string) error {
			c.Registration = Registration(v)
			return oneOf(v, "closed", "token", "open")
		}},
	{flag: "registration-token", value: "token", usage: "a token with which anyone may register when -registration is token",
		set: func(c *Config, v string) error { c.RegistrationToken = v; return nil }},
	{flag: "registration-shared-secret", value: "secret", usage: "lets register_new_matrix_user make accounts",
		set: func(c *Config, v string) error { c.RegistrationSharedSecret = v; return nil }},
	{flag: "password-cost", value: "cost", usage: "effort of hashing passwords: default, or min for tests",
		set: func(c *Config, v string) error {
			c.PasswordCost = PasswordCost(v)
			return oneOf(v, "default", "min")
		}},
	{flag: "rate-limits", value: "on|off", usage: "rate limits; on by default",
		set: func(c *Config, v string) error { return onOff(&c.RateLimits, v) }},
	{flag: "rc-request", value: "rate", usage: "requests of a user that are cheap but not free: each second/at once; 50/200 by default",
		set: func(c *Config, v string) error { return rate(&c.Rates.Request, v) }},
	{flag: "rc-message", value: "rate", usage: "events that a user sends; 10/100 by default",
		set: func(c *Config, v string) error { return rate(&c.Rates.Message, v) }},
	{flag: "rc-joins", value: "rate", usage: "rooms that a user joins or creates, and invites; 1/30 by default",
		set: func(c *Config, v string) error { return rate(&c.Rates.Join, v) }},
	{flag: "rc-address", value: "rate", usage: "cheap requests without a user, from one address; 10/100 by default",
		set: func(c *Config, v string) error { return rate(&c.Rates.Address, v) }},
	{flag: "rc-login", value: "rate", usage: "logins from one address; 0.5/20 by default",
		set: func(c *Config, v string) error { return rate(&c.Rates.Login, v) }},
	{flag: "rc-registration", value: "rate", usage: "registrations from one address; 0.2/10 by default",
		set: func(c *Config, v string) error { return rate(&c.Rates.Registration, v) }},
	{flag: "forget-rooms-on-leave", value: "on|off", usage: "forget a room for a user who leaves it, or is made to; off by default",
		set: func(c *Config, v string) error { return onOff(&c.ForgetOnLeave, v) }},
	{flag: "presence", value: "on|off", usage: "who is online; on by default",
		set: func(c *Config, v string) error { return onOff(&c.Presence, v) }},
	{flag: "federation-ca", key: "federation_custom_ca_list", value: "file", usage: "certificates to trust in federation besides the system's", pending: true,
		set: func(c *Config, v string) error { c.FederationCA = v; return nil }},
	{flag: "notary", key: "trusted_key_servers", value: "servers", usage: "servers to ask for the signing keys of others", pending: true,
		set: func(c *Config, v string) error { c.TrustedKeyServers = list(v); return each(v, serverName) }},
	{flag: "allow-private-addresses", bare: true, usage: "let the server's own requests reach loopback and private addresses, and push gateways without TLS; for development",
		set: func(c *Config, v string) error { return onOff(&c.AllowPrivateAddresses, v) }},
	{flag: "appservice-dir", value: "folder", usage: "folder of registrations of application services", pending: true,
		set: func(c *Config, v string) error { c.AppserviceDir = v; return nil }},
	{flag: "max-upload-size", value: "size", usage: "largest upload; 50M by default", pending: true,
		set: func(c *Config, v string) error { return size(&c.MaxUploadSize, v) }},
	{flag: "url-previews", key: "url_preview_enabled", value: "on|off", usage: "previews of the pages that users mention", pending: true,
		set: func(c *Config, v string) error { return onOff(&c.URLPreviews, v) }},
	{flag: "smtp", value: "url", usage: "server that sends e-mail, such as smtp://user:password@host:587", pending: true,
		set: func(c *Config, v string) error { c.SMTP = v; return nil }},
	{flag: "turn-uris", value: "uris", usage: "TURN servers for calls, separated by commas",
		set: func(c *Config, v string) error { c.TURNURIs = list(v); return each(v, turnURI) }},
	{flag: "turn-shared-secret", value: "secret", usage: "secret that the TURN servers know",
		set: func(c *Config, v string) error { c.TURNSharedSecret = v; return nil }},
	{flag: "turn-user-lifetime", value: "duration", usage: "how long TURN credentials are valid; 24h by default",
		set: func(c *Config, v string) error { return duration(&c.TURNUserLifetime, v) }},
	{flag: "support-page", value: "url", usage: "page that helps users of this server",
		set: func(c *Config, v string) error { c.SupportPage = v; return optional(v, webURL) }},
	{flag: "support-email", value: "address", usage: "e-mail address of the administrator",
		set: func(c *Config, v string) error { c.SupportEmail = v; return nil }},
	{flag: "support-mxid", value: "user id", usage: "user id of the administrator",
		set: func(c *Config, v string) error { c.SupportMXID = v; return nil }},
	{flag: "log-level", value: "level", usage: "least level that is logged: debug, info (the default), warn or error",
		set: func(c *Config, v string) error { return level(&c.LogLevel, v) }},
}

// check judges what no setting can judge alone.
func (c *Config) check() error {
	switch {
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return fmt.Errorf("-tls-cert and -tls-key belong together: give both, or none for a self-signed pair")
	case c.TLSCert != "" && c.FederationListen == "":
		return fmt.Errorf("-tls-cert needs -federation-listen, the address of the TLS listener")
	case len(c.TURNURIs) > 0 && c.TURNSharedSecret == "":
		return fmt.Errorf("-turn-uris needs -turn-shared-secret, which the TURN servers must know too")
	case c.RegistrationToken != "" && c.Registration != RegistrationToken:
		return fmt.Errorf("-registration-token needs -registration token")
	}
	return nil
}

func serverName(v string) error {
	if id.ValidServer(v) {
		return nil
	}
	hint := "a DNS name, an IPv4 address or an IPv6 address in brackets, with a port or without"
	switch {
	case v == "":
		hint = "it must not be empty"
	case strings.Contains(v, "://"):
		hint = "write the name alone, without " + v[:strings.Index(v, "://")+3]
	case strings.ContainsAny(v, "@/"):
		hint = "write the name alone, as in the part after the colon of @user:example.org"
	case strings.Count(v, ":") > 1 && v[0] != '[':
		hint = "write an IPv6 address in brackets, as in [::1]:8448"
	}
	return fmt.Errorf("%q is not a server name: %s", v, hint)
}

func webURL(v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%q is not a URL such as https://matrix.example.org", v)
	}
	return nil
}

func address(v string) error {
	if _, port, err := net.SplitHostPort(v); err == nil {
		if n, err := strconv.Atoi(port); err == nil && n >= 0 && n < 1<<16 {
			return nil
		}
	}
	return fmt.Errorf("%q is not an address to listen on, such as 127.0.0.1:8008 or :8448", v)
}

// networks reads addresses and networks, such as 127.0.0.1 and 10.0.0.0/8.
func networks(v string) (all []netip.Prefix, err error) {
	for _, s := range list(v) {
		p, err := netip.ParsePrefix(s)
		if a, bad := netip.ParseAddr(s); bad == nil {
			p, err = a.Prefix(a.BitLen())
		}
		if err != nil || p.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is not an address or network such as 127.0.0.1 or 10.0.0.0/8", s)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

func turnURI(v string) error {
	if !strings.HasPrefix(v, "turn:") && !strings.HasPrefix(v, "turns:") {
		return fmt.Errorf("%q is not a TURN URI such as turn:turn.example.org?transport=udp", v)
	}
	return nil
}

func notEmpty(v string) error {
	if v == "" {
		return fmt.Errorf("it must not be empty")
	}
	return nil
}

func optional(v string, check func(string) error) error {
	if v == "" {
		return nil
	}
	return check(v)
}

func oneOf(v string, words ...string) error {
	for _, w := range words {
		if v == w {
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", v, strings.Join(words, ", "))
}

func onOff(b *bool, v string) error {
	switch strings.ToLower(v) {
	case "on", "true", "yes", "1":
		*b = true
	case "off", "false", "no", "0":
		*b = false
	default:
		return fmt.Errorf("%q is neither on nor off", v)
	}
	return nil
}

func list(v string) []string {
	var all []string
	for s := range strings.SplitSeq(v, ",") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

func each(v string, check func(string) error) error {
	for _, s := range list(v) {
		if err := check(s); err != nil {
			return err
		}
	}
	return nil
}

func size(n *int64, v string) error {
	digits, unit := strings.TrimRight(v, "KMGB"), int64(1)
	switch strings.TrimSuffix(v[len(digits):], "B") {
	case "K":
		unit = 1 << 10
	case "M":
		unit = 1 << 20
	case "G":
		unit = 1 << 30
	}
	count, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || count < 0 {
		return fmt.Errorf("%q is not a size such as 50M", v)
	}
	*n = count * unit
	return nil
}

func duration(d *time.Duration, v string) error {
	if ms, err := strconv.ParseInt(v, 10, 64); err == nil { // as Synapse writes it
		*d = time.Duration(ms) * time.Millisecond
		return nil
	}
	if strings.HasSuffix(v, "d") {
		if days, err := strconv.Atoi(strings.TrimSuffix(v, "d")); err == nil {
			*d = time.Duration(days) * 24 * time.Hour
			return nil
		}
	}
	parsed, err := time.ParseDuration(v)
	if err != nil || parsed < 0 {
		return fmt.Errorf("%q is not a duration such as 1h", v)
	}
	*d = parsed
	return nil
}

func level(l *slog.Level, v string) error {
	if err := l.UnmarshalText([]byte(v)); err != nil {
		return fmt.Errorf("%q is none of debug, info, warn, error", v)
	}
	return nil
}

// rate reads requests each second and at once.
func rate(to *Rate, v string) error {
	each, burst, ok := strings.Cut(v, "/")
	r := Rate{}
	var err1, err2 error
	r.PerSecond, err1 = strconv.ParseFloat(strings.TrimSpace(each), 64)
	r.Burst, err2 = strconv.ParseFloat(strings.TrimSpace(burst), 64)
	if !ok || err1 != nil || err2 != nil || !(r.PerSecond > 0 && r.PerSecond <= 1e9) || !(r.Burst >= 1 && r.Burst <= 1e9) {
		return fmt.Errorf("%q is not a rate: write the requests each second and at once, such as 0.5/20", v)
	}
	*to = r
	return nil
}
