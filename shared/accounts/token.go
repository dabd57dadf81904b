package accounts

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/segmentio/ksuid"
)

// secret is what makes a token hard to guess.
type secret [32]byte

// Tokens begin with what they are, so that a person who finds one in a log (or a
// scanner that finds one in a repository) knows what to revoke.
const (
	accessPrefix      = "vat_"
	refreshPrefix     = "vrt_"
	interactionPrefix = "vui_"
)

// token is an access or refresh token: it names a session, which is no secret,
// and proves to belong to it.
type token struct {
	prefix  string
	session string
	secret  secret
}

// sessionLength is the length of the name of a session, a ksuid.
const sessionLength = 27

// String is the form that clients see: prefix, session, '_', 43 characters.
func (t token) String() string { return t.prefix + t.session + "_" + t.secret.String() }

func (t token) hash() []byte { return hash(t.String()) }

// parseToken takes a token apart; ok is false if it was never one of ours.
func parseToken(prefix, s string) (t token, ok bool) {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok || len(rest) < sessionLength+1 || rest[sessionLength] != '_' {
		return token{}, false
	}
	t = token{prefix: prefix, session: rest[:sessionLength]}
	if _, err := ksuid.Parse(t.session); err != nil {
		return token{}, false
	}
	t.secret, ok = parseSecret(rest[sessionLength+1:])
	return t, ok
}

func (s secret) String() string { return base64.RawURLEncoding.EncodeToString(s[:]) }

func parseSecret(text string) (s secret, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(s) {
		return secret{}, false
	}
	return secret(raw), true
}

// derive makes a new secret that only who has s and the salt can make. It lets a
// request whose answer was lost be answered again with the same tokens, although
// no token is stored.
func (s secret) derive(salt []byte, purpose string) secret {
	return secret(s.mac(append([]byte(purpose+"\x00"), salt...)))
}

func (s secret) mac(text []byte) []byte {
	m := hmac.New(sha256.New, s[:])
	m.Write(text)
	return m.Sum(nil)
}

// hash is what is stored of a token.
func hash(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}

// hashKey is hash as part of a key.
func hashKey(s string) string { return base64.RawURLEncoding.EncodeToString(hash(s)) }

// same compares in constant time. Nothing is the same as an empty hash.
func same(a, b []byte) bool { return len(a) > 0 && subtle.ConstantTimeCompare(a, b) == 1 }

func (s *Service) random(b []byte) error {
	if _, err := io.ReadFull(s.opt.Rand, b); err != nil {
		return fmt.Errorf("read random bytes: %w", err)
	}
	return nil
}

func (s *Service) newSecret() (secret, error) {
	var n secret
	return n, s.random(n[:])
}

// newID returns an identifier that sorts by time.
func (s *Service) newID() (string, error) {
	var payload [16]byte
	if err := s.random(payload[:]); err != nil {
		return "", err
	}
	k, err := ksuid.FromParts(s.opt.Clock.Now(), payload[:])
	return k.String(), err
}

// millis is the time as rows hold it; zero stays zero.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
