package pdu

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/roomversion"
)

var (
	// ErrNoSignature: the object has no signature of this server with this key.
	ErrNoSignature = errors.New("signature missing")
	// ErrBadSignature: the signature is there and wrong.
	ErrBadSignature = errors.New("signature does not match")
)

// Sign adds a signature to an event that has its hashes, covering its redacted
// form, and returns the event in canonical form. Other signatures stay.
//
// https://spec.matrix.org/v1.19/server-server-api/#adding-hashes-and-signatures-to-outgoing-events
func Sign(v *roomversion.Version, raw []byte, server, keyID string, key ed25519.PrivateKey) ([]byte, error) {
	all, _, err := open(v, raw)
	if err != nil {
		return nil, err
	}
	return addSignature(all, signable(v, all), server, keyID, key), nil
}

// HashAndSign sets the content hash of an event and signs it: what a server
// does to the template that make_join, make_leave or make_knock gave it.
func HashAndSign(v *roomversion.Version, raw []byte, server, keyID string, key ed25519.PrivateKey) ([]byte, error) {
	all, _, err := open(v, raw)
	if err != nil {
		return nil, err
	}
	all = set(all, "hashes", hashesJSON(contentHash(all)))
	return addSignature(all, signable(v, all), server, keyID, key), nil
}

// Verify checks one signature of an event, over its redacted form.
// Errors wrap ErrBadJSON, ErrNoSignature or ErrBadSignature.
func Verify(v *roomversion.Version, raw []byte, server, keyID string, pub ed25519.PublicKey) error {
	all, _, err := open(v, raw)
	if err != nil {
		return err
	}
	sig, err := signature(find(all, "signatures"), server, keyID)
	if err != nil {
		return err
	}
	return verify(pub, signable(v, all), sig, server, keyID)
}

// AddSignature adds to an event the signature that another server made of it:
// that of server with keyID in signatures, an untrusted object of the form of the
// event's own. It is not verified. The event is returned in canonical form.
//
// Errors wrap ErrBadJSON, ErrNoSignature or ErrTooLarge.
func AddSignature(v *roomversion.Version, raw []byte, server, keyID string, signatures []byte) ([]byte, error) {
	all, _, err := open(v, raw)
	if err != nil {
		return nil, err
	}
	given, _, err := openJSON(signatures)
	if err != nil {
		return nil, err
	}
	sig, ok := canonicaljson.String(canonicaljson.Get(find(given, server), keyID))
	if !ok {
		return nil, fmt.Errorf("%w: %s %s", ErrNoSignature, server, keyID)
	}
	signed := withSignature(all, server, keyID, sig)
	if len(signed) > MaxSize {
		return nil, fmt.Errorf("%w: event has %d bytes, the limit is %d", ErrTooLarge, len(signed), MaxSize)
	}
	return signed, nil
}

// SignJSON adds a signature to an object that is not an event (server keys,
// requests, third-party invites) and returns it in canonical form.
//
// https://spec.matrix.org/v1.19/appendices/#signing-details
func SignJSON(raw []byte, server, keyID string, key ed25519.PrivateKey) ([]byte, error) {
	all, _, err := openJSON(raw)
	if err != nil {
		return nil, err
	}
	return addSignature(all, without(all, "signatures", "unsigned"), server, keyID, key), nil
}

// SignatureOf returns the signature of an object without adding it, for the
// X-Matrix header.
func SignatureOf(raw []byte, key ed25519.PrivateKey) (string, error) {
	all, _, err := openJSON(raw)
	if err != nil {
		return "", err
	}
	sig := ed25519.Sign(key, without(all, "signatures", "unsigned"))
	return base64.RawStdEncoding.EncodeToString(sig), nil
}

// VerifyJSON checks one signature of an object that is not an event.
// Errors wrap ErrBadJSON, ErrNoSignature or ErrBadSignature.
func VerifyJSON(raw []byte, server, keyID string, pub ed25519.PublicKey) error {
	all, _, err := openJSON(raw)
	if err != nil {
		return err
	}
	sig, err := signature(find(all, "signatures"), server, keyID)
	if err != nil {
		return err
	}
	return verify(pub, without(all, "signatures", "unsigned"), sig, server, keyID)
}

// SignedBy lists the ids of the ed25519 keys with which a server signed an
// event or object, sorted. The bytes must have been checked before.
func SignedBy(raw []byte, server string) []string {
	var keys []string
	for keyID, sig := range canonicaljson.Fields(canonicaljson.Get(raw, "signatures", server)) {
		if _, ok := canonicaljson.String(sig); ok && strings.HasPrefix(keyID, "ed25519:") {
			keys = append(keys, keyID)
		}
	}
	slices.Sort(keys)
	return keys
}

// Unwrapped JSON may carry events of old room versions, so numbers are lenient.
func openJSON(raw []byte) (members, []byte, error) {
	all, canonical, err := canonicaljson.Parse(raw, canonicaljson.Lenient)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrBadJSON, err)
	}
	return all, canonical, nil
}

func signature(signatures []byte, server, keyID string) ([]byte, error) {
	encoded, ok := canonicaljson.String(canonicaljson.Get(signatures, server, keyID))
	if !ok {
		return nil, fmt.Errorf("%w: %s %s", ErrNoSignature, server, keyID)
	}
	sig, err := DecodeBase64(encoded)
	if err != nil || len(sig) != ed25519.SignatureSize {
		return nil, fmt.Errorf("%w: %s %s is not a signature", ErrBadSignature, server, keyID)
	}
	return sig, nil
}

func verify(pub ed25519.PublicKey, message, sig []byte, server, keyID string) error {
	if len(pub) != ed25519.PublicKeySize || !ed25519.Verify(pub, message, sig) {
		return fmt.Errorf("%w: %s %s", ErrBadSignature, server, keyID)
	}
	return nil
}

// addSignature signs message and writes all with the signature beside the
// others that it has.
func addSignature(all members, message []byte, server, keyID string, key ed25519.PrivateKey) []byte {
	return withSignature(all, server, keyID, base64.RawStdEncoding.EncodeToString(ed25519.Sign(key, message)))
}

// signable is what the signatures of an event cover: what redaction leaves of it.
func signable(v *roomversion.Version, all members) []byte {
	var kept [16]canonicaljson.Member
	return without(redacted(v, all, kept[:0]), "signatures", "unsigned")
}

// withSignature writes all with a signature beside the others that it has.
func withSignature(all members, server, keyID, sig string) []byte {
	size := len(`{"signatures":{"":{"":""}},}`) + len(server) + len(keyID) + len(sig)
	for i := range all {
		size += len(all[i].Key) + len(all[i].Value) + len(`"":,`)
	}
	dst := append(make([]byte, 0, size), '{')
	at := 0
	for ; at < len(all) && all[at].Key < "signatures"; at++ {
		dst = appendMember(dst, all[at].Key, all[at].Value)
	}
	var old []byte
	if at < len(all) && all[at].Key == "signatures" {
		old = all[at].Value
		at++
	}
	dst = appendKey(dst, "signatures")
	dst = appendSignature(dst, old, server, keyID, sig)
	for ; at < len(all); at++ {
		dst = appendMember(dst, all[at].Key, all[at].Value)
	}
	return append(dst, '}')
}

// appendSignature writes the value of signatures with one more in its place, by
// server and key.
func appendSignature(dst, old []byte, path ...string) []byte {
	if len(path) == 1 {
		return canonicaljson.AppendString(dst, path[0])
	}
	key, written := path[0], false
	dst = append(dst, '{')
	for name, value := range canonicaljson.Fields(old) {
		if !written && name >= key {
			var inner []byte
			if name == key {
				inner = value
			}
			dst = appendSignature(appendKey(dst, key), inner, path[1:]...)
			written = true
		}
		if name != key {
			dst = appendMember(dst, name, value)
		}
	}
	if !written {
		dst = appendSignature(appendKey(dst, key), nil, path[1:]...)
	}
	return append(dst, '}')
}

// appendKey begins a member of the object that dst ends in.
func appendKey(dst []byte, key string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(canonicaljson.AppendString(dst, key), ':')
}

func appendMember(dst []byte, key string, value []byte) []byte {
	if value == nil {
		return dst
	}
	return append(appendKey(dst, key), value...)
}

// set returns the members with one replaced or added, in canonical order.
func set(all members, key string, value []byte) members {
	i, found := slices.BinarySearchFunc(all, key, func(m canonicaljson.Member, key string) int {
		return strings.Compare(m.Key, key)
	})
	if found {
		all = slices.Clone(all)
		all[i].Value = value
		return all
	}
	out := make(members, 0, len(all)+1)
	out = append(out, all[:i]...)
	out = append(out, canonicaljson.Member{Key: key, Value: value})
	return append(out, all[i:]...)
}

func hashesJSON(hash [32]byte) []byte {
	dst := append(make([]byte, 0, 64), `{"sha256":"`...)
	dst = base64.RawStdEncoding.AppendEncode(dst, hash[:])
	return append(dst, `"}`...)
}

// DecodeBase64 accepts standard and URL-safe base64, padded or not.
//
// https://spec.matrix.org/v1.19/appendices/#unpadded-base64
func DecodeBase64(s string) ([]byte, error) {
	b := bytes.TrimRight([]byte(s), "=")
	for i, c := range b {
		switch c {
		case '-':
			b[i] = '+'
		case '_':
			b[i] = '/'
		}
	}
	return base64.RawStdEncoding.DecodeString(string(b))
}
