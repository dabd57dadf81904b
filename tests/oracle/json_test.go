package oracle

import (
	"bytes"
	"encoding/json/jsontext"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"
	theirs "maunium.net/go/mautrix/crypto/canonicaljson"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/roomversion"
)

// TestCanonicalJSON: whether bytes are taken, and what their canonical form is.
// mautrix-go has one form, the strict one.
func TestCanonicalJSON(t *testing.T) {
	l := newLedger(t, canonical)
	d := newDice(100)
	for _, id := range []string{"5", "11"} { // the versions differ in nothing else
		v, _ := roomversion.Get(id)
		for i := range 30000 {
			in := []byte(scribe{d, i%2 == 0}.document())
			ours := formOf(canonicaljson.Encode(in, v.JSONMode()))
			l.add(&comparison{v: v, library: gmsl, json: in, ours: ours, theirs: safely(func() outcome {
				return formOf(gomatrixserverlib.EnforcedCanonicalJSON(in, gomatrixserverlib.RoomVersion(v.ID)))
			})})
			if v.StrictJSON {
				l.add(&comparison{v: v, library: mautrix, json: in, ours: ours, theirs: safely(func() outcome {
					form := jsontext.Value(bytes.Clone(in))
					err := theirs.Canonicalize(&form)
					return formOf(form, err)
				})})
			}
		}
	}
	l.close()
}

func formOf(b []byte, err error) outcome {
	if err != nil {
		return refused(err)
	}
	return accepted(string(b))
}
