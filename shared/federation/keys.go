// Package federation is what servers have to do with each other: for now, the
// key that this server signs its events with.
package federation

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/store"
)

// Keys holds the server's signing key, a row of the server table that whoever
// needs it first makes:
//
//	SIGNING / KEY {id, seed}
//
// If it were lost, the server would make another, and events signed with the old
// one could not be verified by servers that have not seen it. It is part of
// every backup.
type Keys struct {
	DB   store.DB
	Rand io.Reader

	mu  sync.Mutex
	key *SigningKey
}

// SigningKey is an ed25519 key with its id.
type SigningKey struct {
	ID      string // "ed25519:a_1234"
	Private ed25519.PrivateKey
}

// Signs is what Signing uses once there is a key. MakesKey is needed besides by
// whoever may be the first to sign: the creator of the first room.
var (
	Signs    = grant.ReadTable("server")
	MakesKey = grant.WriteTable("server")
)

var signingKey = store.Key{Part: "SIGNING", Sort: "KEY"}

// Signing returns the server's signing key. Processes that start together on an
// empty store end with the same one: the first write wins, and the others read
// it.
func (k *Keys) Signing(ctx context.Context) (*SigningKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key != nil {
		// A warm process is allowed what a cold one is.
		return k.key, grant.Check(ctx, grant.Table, store.Server.Name, grant.Read)
	}
	it, err := k.DB.Get(ctx, store.Ref{Table: store.Server, Key: signingKey}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		seed := make([]byte, ed25519.SeedSize)
		name := make([]byte, 4)
		if _, err := io.ReadFull(k.Rand, seed); err != nil {
			return nil, fmt.Errorf("make signing key: %w", err)
		}
		if _, err := io.ReadFull(k.Rand, name); err != nil {
			return nil, fmt.Errorf("make signing key: %w", err)
		}
		it, err = k.keep(ctx, fmt.Sprintf("ed25519:a_%x", name), seed)
	}
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	if len(it.Bytes("seed")) != ed25519.SeedSize {
		return nil, fmt.Errorf("the signing key %q is damaged", it.Str("id"))
	}
	k.key = &SigningKey{ID: it.Str("id"), Private: ed25519.NewKeyFromSeed(it.Bytes("seed"))}
	return k.key, nil
}

// keep writes the key unless there is one, and returns the one there is.
func (k *Keys) keep(ctx context.Context, id string, seed []byte) (store.Item, error) {
	w := store.Put(store.Server, signingKey, store.Attrs{"id": id, "seed": seed}).If(store.NotExists())
	it, err := k.DB.Write(ctx, w)
	if f := store.Failed(err); f != nil {
		return f.Failed[0], nil
	}
	return it, err
}

// Import makes a key in the form of other homeservers' key files
// ("ed25519 a_1234 <unpadded base64 seed>") the signing key. It is an error if
// the server has another one already.
func (k *Keys) Import(ctx context.Context, line string) error {
	fields := strings.Fields(line)
	if len(fields) != 3 || fields[0] != "ed25519" {
		return errors.New("a signing key is a line of three words: ed25519, its version, and the seed in base64")
	}
	seed, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(fields[2], "="))
	if err != nil || len(seed) != ed25519.SeedSize {
		return errors.New("the seed of a signing key is 32 bytes in unpadded base64")
	}
	id := "ed25519:" + fields[1]
	it, err := k.keep(ctx, id, seed)
	if err != nil {
		return fmt.Errorf("import signing key: %w", err)
	}
	if it.Str("id") != id || string(it.Bytes("seed")) != string(seed) {
		return fmt.Errorf("this server already signs with %s; import a key before the first start", it.Str("id"))
	}
	return nil
}
