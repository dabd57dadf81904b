package receipt

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/pdu"
)

// ErrSignature: a signature that the event needs is missing, wrong, or made with
// a key that is unknown or was not valid.
var ErrSignature = errors.New("not signed")

// policyKey is the id under which policy servers sign. Nobody publishes it.
const policyKey = "ed25519:policy_server"

// keyLife is how long a key is trusted beyond now, in milliseconds, whatever its
// server says: 7 days.
//
// https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period
const keyLife = 7 * 24 * 60 * 60 * 1000

// KeyName names a key of a server.
type KeyName struct{ Server, ID string }

// Key is a key that a server published, as it published it.
type Key struct {
	Public ed25519.PublicKey
	// ValidUntil is the valid_until_ts of the answer that held the key among its
	// verify_keys, or the expired_ts of a key among old_verify_keys. Milliseconds.
	ValidUntil int64
	// Expired says that the key is one of old_verify_keys.
	Expired bool
}

// Keys are the keys that the caller found. One that is missing is as good as one
// that does not exist.
type Keys map[KeyName]Key

// Want is a server that has to have signed an event.
type Want struct {
	Server string
	// IDs are the keys that it signed with, by its own account. They are for the
	// caller to find, in its own store, at the server or at a notary. There may be
	// none: then Verify fails without looking further.
	IDs []string
	// ValidAt is the time in milliseconds at which a key has to be valid to
	// count, and the minimum_valid_until_ts of a query. It is 0 in room versions
	// that do not ask.
	ValidAt int64
}

// Wants lists the servers that have to have signed the event, with their keys: in
// every room version that of the sender, unless the event is a third-party
// invite; in versions 1 and 2 that of the event id; from 8 on that of the user
// who authorised a join.
func (u *Unverified) Wants() []Want {
	v := u.event.Version
	var wants []Want
	for _, server := range auth.Signers(v, u.view) {
		w := Want{Server: server, IDs: pdu.SignedBy(u.event.JSON(), server)}
		w.IDs = slices.DeleteFunc(w.IDs, func(id string) bool { return id == policyKey })
		if v.KeyValidity {
			w.ValidAt = u.event.OriginServerTS
		}
		wants = append(wants, w)
	}
	return wants
}

// Verify is checks 2 and 3: every server that has to have signed the event has,
// and the content hash is right or else the event is redacted. now is in
// milliseconds; no key is believed to be valid for more than 7 days beyond it.
//
// Of each server all signatures by known keys that were valid have to be right,
// and there has to be one. Signatures by other keys say nothing.
//
// A restricted join without the signature that rule 4.2.1 (5.2.1) demands is
// dropped here like any event without its signatures, and not rejected: a
// signature is no part of an event id, so the rejection would stand against the
// same event when it comes again with the signature.
//
// Errors are *Drop.
//
// https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
func (u *Unverified) Verify(keys Keys, now int64) (*Received, error) {
	for _, w := range u.Wants() {
		signed := false
		for _, id := range w.IDs {
			key, ok := keys[KeyName{w.Server, id}]
			if !ok || !key.valid(u.event.OriginServerTS, w.ValidAt, now) {
				continue
			}
			if err := pdu.Verify(u.event.Version, u.event.JSON(), w.Server, id, key.Public); err != nil {
				return nil, &Drop{2, fmt.Errorf("%w by %s: %w", ErrSignature, w.Server, err)}
			}
			signed = true
		}
		if !signed {
			return nil, &Drop{2, fmt.Errorf("%w by %s with a key that counts", ErrSignature, w.Server)}
		}
	}
	return u.hashed()
}

// valid reports whether a key counts for an event of time ts. A key that its
// server gave up before then never does; whether one has to be valid still is
// for the room version to say, in want.
func (k Key) valid(ts, want, now int64) bool {
	if k.Expired {
		return k.ValidUntil >= ts
	}
	return min(k.ValidUntil, now+keyLife) >= want
}
