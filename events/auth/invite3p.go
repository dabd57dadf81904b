package auth

import (
	"crypto/ed25519"
	"strings"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/pdu"
)

// signedOf reads content.third_party_invite.signed; nil when there is none.
func signedOf(value []byte) *Signed {
	if value == nil {
		return nil
	}
	s := new(Signed)
	var mxid, token bool
	var rest []canonicaljson.Member
	for key, field := range canonicaljson.Fields(value) {
		switch key {
		case "mxid":
			s.MXID, mxid = canonicaljson.String(field)
		case "token":
			s.Token, token = canonicaljson.String(field)
		case "signatures":
			s.Signatures = signaturesOf(field)
			continue
		case "unsigned":
			continue
		}
		rest = append(rest, canonicaljson.Member{Key: key, Value: field})
	}
	s.Complete = mxid && token
	s.Message = canonicaljson.AppendObject(nil, rest)
	// The event may be kept in the form in which it was received.
	if canonical, err := canonicaljson.Encode(s.Message, canonicaljson.Lenient); err == nil {
		s.Message = canonical
	}
	return s
}

func signaturesOf(value []byte) (all [][]byte) {
	for _, byServer := range canonicaljson.Fields(value) {
		for keyID, sig := range canonicaljson.Fields(byServer) {
			text, ok := canonicaljson.String(sig)
			if !ok || !strings.HasPrefix(keyID, "ed25519:") {
				continue
			}
			if b, err := pdu.DecodeBase64(text); err == nil && len(b) == ed25519.SignatureSize {
				all = append(all, b)
			}
		}
	}
	return all
}

// inviteField reads the public keys of m.room.third_party_invite.
func (c *Content) inviteField(key string, value []byte) bool {
	switch key {
	case "public_key":
		c.addPublicKey(value)
	case "public_keys":
		for item := range canonicaljson.Elements(value) {
			c.addPublicKey(canonicaljson.Get(item, "public_key"))
		}
	default:
		return false
	}
	return true
}

func (c *Content) addPublicKey(value []byte) {
	text, ok := canonicaljson.String(value)
	if !ok {
		return
	}
	if b, err := pdu.DecodeBase64(text); err == nil && len(b) == ed25519.PublicKeySize {
		c.PublicKeys = append(c.PublicKeys, b)
	}
}

// maxVerifications bounds the work that one invite can ask for: keys and
// signatures are both chosen by others.
const maxVerifications = 64

// signedByAny reports whether any signature matches any of the public keys.
func (s *Signed) signedByAny(keys [][]byte) bool {
	tried := 0
	for _, sig := range s.Signatures {
		for _, key := range keys {
			if tried++; tried > maxVerifications {
				return false
			}
			if ed25519.Verify(key, s.Message, sig) {
				return true
			}
		}
	}
	return false
}
