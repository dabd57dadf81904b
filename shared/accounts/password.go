package accounts

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// cost is what hashing a password with Argon2id takes.
type cost struct {
	memory, time uint32 // KiB, passes
	threads      uint8
}

// defaultCost is OWASP's recommendation for servers; minCost is for tests.
var (
	defaultCost = cost{memory: 19 << 10, time: 2, threads: 1}
	minCost     = cost{memory: 8, time: 1, threads: 1}
)

const (
	// maxHashes bounds the memory that hashing takes in one process.
	maxHashes = 4
	// maxPassword bounds the time of hashing; longer ones are refused.
	maxPassword = 512
	keyLength   = 32
	saltLength  = 16
	// maxMemory is the largest cost in KiB that a stored hash may ask for.
	maxMemory = 256 << 10
)

// hashPassword returns the PHC string of a password.
func (s *Service) hashPassword(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltLength)
	if err := s.random(salt); err != nil {
		return "", err
	}
	key, err := s.argon2id(ctx, password, salt, s.cost, keyLength)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, s.cost.memory, s.cost.time, s.cost.threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

// checkPassword reports whether the password is the one that phc was made from:
// an Argon2id PHC string, or a bcrypt hash that was brought from another server.
// Without a hash it takes as long, and is false.
func (s *Service) checkPassword(ctx context.Context, phc, password string) (bool, error) {
	if foreign(phc) {
		release, err := s.hashSlot(ctx)
		if err != nil {
			return false, err
		}
		defer release()
		return bcrypt.CompareHashAndPassword([]byte(phc), []byte(password)) == nil, nil
	}
	if phc == "" {
		_, err := s.argon2id(ctx, password, make([]byte, saltLength), s.cost, keyLength)
		return false, err
	}
	c, salt, want, err := parsePHC(phc)
	if err != nil {
		return false, err
	}
	key, err := s.argon2id(ctx, password, salt, c, uint32(len(want)))
	return err == nil && subtle.ConstantTimeCompare(key, want) == 1, err
}

// foreign reports whether a hash is a bcrypt hash.
func foreign(phc string) bool { return strings.HasPrefix(phc, "$2") }

func parsePHC(phc string) (c cost, salt, key []byte, err error) {
	bad := func(why string) (cost, []byte, []byte, error) {
		return cost{}, nil, nil, fmt.Errorf("stored password hash: %s", why)
	}
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return bad("neither Argon2id nor bcrypt")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memory, &c.time, &c.threads); err != nil {
		return bad("bad parameters")
	}
	if c.memory > maxMemory || c.time < 1 || c.threads < 1 {
		return bad("impossible parameters")
	}
	if salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return bad("bad salt")
	}
	if key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(key) < keyLength/2 {
		return bad("bad key")
	}
	return c, salt, key, nil
}

func (s *Service) argon2id(ctx context.Context, password string, salt []byte, c cost, length uint32) ([]byte, error) {
	release, err := s.hashSlot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return argon2.IDKey([]byte(password), salt, c.time, c.memory, c.threads, length), nil
}

// hashSlot waits for its turn to hash.
func (s *Service) hashSlot(ctx context.Context) (release func(), err error) {
	select {
	case s.hashes <- struct{}{}:
		return func() { <-s.hashes }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
