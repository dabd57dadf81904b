// Package config is what an administrator decides about a homeserver: one
// struct, read from flags, environment variables and a file, in the words that
// Matrix administrators know.
//
// A flag wins over the environment, the environment over the file, the file over
// the default. The flag -server-name is VIRGA_SERVER_NAME in the environment and
// server_name in the file. Functions on AWS read the same struct from their
// environment alone.
package config

import (
	"log/slog"
	"net/netip"
	"time"
)

// Config is a homeserver's configuration. It is not changed once a server is
// built of it.
type Config struct {
	// ServerName is the part after the colon of the users' ids. It can never be
	// changed without losing every account and room.
	ServerName string
	// PublicBaseURL is where clients reach the server, without a slash at its
	// end; empty means wherever they did.
	PublicBaseURL string

	// Data is the folder that holds everything of a local server.
	Data string
	// ClientListen is the address of the plain HTTP listener of a local server.
	ClientListen string
	// FederationListen is the address of its TLS listener; empty means none.
	FederationListen string
	// TrustedProxies are those whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// TLSCert and TLSKey are files; without them a self-signed pair is made.
	TLSCert, TLSKey string

	// Registration says who may make an account.
	Registration Registration
	// SigningKey is a file with the signing key to import before the first event.
	SigningKey string
	// RegistrationToken is a registration token that there is from the start.
	RegistrationToken string
	// RegistrationSharedSecret lets its holders make accounts through
	// /_synapse/admin/v1/register; empty turns that off.
	RegistrationSharedSecret string
	// PasswordCost is the effort of hashing a password.
	PasswordCost PasswordCost

	// FederationCA is a file of certificates to trust besides the system's.
	FederationCA string
	// TrustedKeyServers are asked for signing keys of servers that do not answer.
	TrustedKeyServers []string
	// AllowPrivateAddresses lets requests of the server's own go to loopback and
	// private addresses.
	AllowPrivateAddresses bool

	// RateLimits turns the rate limits on, and Rates are what they allow.
	RateLimits bool
	Rates      Rates
	// Presence turns presence on.
	Presence bool
	// ForgetOnLeave forgets rooms for users who leave them, or are made to.
	ForgetOnLeave bool
	// AppserviceDir is a folder of registrations of application services.
	AppserviceDir string
	// MaxUploadSize is the largest upload in bytes.
	MaxUploadSize int64
	// URLPreviews lets the server fetch pages that users mention.
	URLPreviews bool
	// SMTP is the URL of the server that sends e-mail.
	SMTP string

	// TURNURIs, TURNSharedSecret and TURNUserLifetime are the TURN servers for
	// calls, the secret shared with them, and how long credentials are valid.
	TURNURIs         []string
	TURNSharedSecret string
	TURNUserLifetime time.Duration

	// SupportPage, SupportEmail and SupportMXID are told to users who look for
	// the administrator.
	SupportPage, SupportEmail, SupportMXID string

	// LogLevel is the least level that is logged.
	LogLevel slog.Level

	pending []string
}

// Registration says who may make an account.
type Registration string

// The ways of registration.
const (
	// RegistrationClosed is for nobody but the administrator.
	RegistrationClosed Registration = "closed"
	// RegistrationToken is for those who have a registration token.
	RegistrationToken Registration = "token"
	// RegistrationOpen is for everybody.
	RegistrationOpen Registration = "open"
)

// PasswordCost is the effort of hashing a password.
type PasswordCost string

// The costs.
const (
	// PasswordCostDefault is for people.
	PasswordCostDefault PasswordCost = "default"
	// PasswordCostMin is for tests: it protects nothing.
	PasswordCostMin PasswordCost = "min"
)

// Rate is how much a limit allows: so many requests at once, and then so many each
// second.
type Rate struct{ PerSecond, Burst float64 }

// Rates are the limits for each class of requests: by user, and for Address, Login
// and Registration by the address that a request comes from.
type Rates struct {
	Request, Message, Join, Address, Login, Registration Rate
}

// Default returns the configuration of a server to which nothing was said.
func Default() Config {
	return Config{
		ServerName:   "localhost",
		Data:         "data",
		ClientListen: "127.0.0.1:8008",
		Registration: RegistrationClosed,
		PasswordCost: PasswordCostDefault,
		RateLimits:   true,
		// Generous where a person acts, and strict where a stranger guesses.
		Rates: Rates{
			Request: Rate{50, 200}, Message: Rate{10, 100}, Join: Rate{1, 30},
			Address: Rate{10, 100}, Login: Rate{0.5, 20}, Registration: Rate{0.2, 10},
		},
		Presence:         true,
		MaxUploadSize:    50 << 20,
		TURNUserLifetime: 24 * time.Hour,
		LogLevel:         slog.LevelInfo,
	}
}

// Pending returns the flags that were set and have no effect in this version.
func (c *Config) Pending() []string { return c.pending }
