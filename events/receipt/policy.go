package receipt

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
)

// ErrNotRecommended: the room has a policy server, and the event has no valid
// signature of it.
var ErrNotRecommended = errors.New("not recommended by the policy server")

// Policy says whether a room uses a policy server, and which. The zero value is
// of a caller who did not look, and lets nothing pass.
//
// https://spec.matrix.org/v1.19/server-server-api/#policy-servers
type Policy struct {
	known bool
	via   string // "" when the room uses none
	key   ed25519.PublicKey
}

// PolicyOf reads the policy server out of the content of the m.room.policy event
// with an empty state key in the room's current state; nil when there is none.
// joined reports whether a server has a joined user in the current state: a
// server that has not is nobody's policy server.
//
// https://spec.matrix.org/v1.19/server-server-api/#determining-if-a-policy-server-is-enabled-in-a-room
func PolicyOf(content []byte, joined func(server string) bool) Policy {
	none := Policy{known: true}
	via, ok := canonicaljson.String(canonicaljson.Get(content, "via"))
	if !ok || !id.ValidServer(via) {
		return none
	}
	text, ok := canonicaljson.String(canonicaljson.Get(content, "public_keys", "ed25519"))
	if !ok || !joined(via) {
		return none
	}
	// The room asked for a policy server. A key that is none does not undo that;
	// it only means that no event can be shown to be recommended.
	key, err := pdu.DecodeBase64(text)
	if err != nil || len(key) != ed25519.PublicKeySize {
		key = nil
	}
	return Policy{known: true, via: via, key: key}
}

// Server is the policy server that the room uses, or "".
func (p Policy) Server() string { return p.via }

// Check says nil when the policy server recommends an event, be it one of ours
// before it is sent or another server's: the room uses none, the event is the
// one that says so, or the signature is there and right. Otherwise ask Server for
// a signature, and check what AddSignature makes of its answer.
//
// Errors wrap ErrNotRecommended.
//
// https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures
func (p Policy) Check(e *pdu.Event) error {
	switch {
	case !p.known:
		return fmt.Errorf("%w: whether the room has one is not known", ErrNotRecommended)
	case p.via == "" || e.Is("m.room.policy", ""):
		return nil
	}
	if err := pdu.Verify(e.Version, e.JSON(), p.via, policyKey, p.key); err != nil {
		return fmt.Errorf("%w: %w", ErrNotRecommended, err)
	}
	return nil
}

func (p Policy) recommends(r *Received) error { return p.Check(r.event) }

// AddSignature adds the signature in a policy server's answer to an event, if it
// is right, and returns the event with it. Other signatures and the id stay.
// answer is untrusted.
//
// Errors wrap pdu.ErrBadJSON or ErrNotRecommended.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixpolicyv1sign
func (p Policy) AddSignature(e *pdu.Event, answer []byte) (*pdu.Event, error) {
	raw, err := pdu.AddSignature(e.Version, e.JSON(), p.via, policyKey, answer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotRecommended, err)
	}
	signed, err := pdu.Load(e.Version, e.ID, raw)
	if err != nil {
		return nil, err
	}
	return signed, p.Check(signed)
}

// WithPolicySignature is Policy.AddSignature for an event that is being judged.
func (r *Received) WithPolicySignature(p Policy, answer []byte) (*Received, error) {
	e, err := p.AddSignature(r.event, answer)
	if err != nil {
		return nil, err
	}
	view, err := auth.ViewOf(e)
	if err != nil {
		return nil, err
	}
	return &Received{event: e, view: view, redacted: r.redacted}, nil
}
