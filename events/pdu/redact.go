package pdu

import (
	"crypto/sha256"
	"encoding/base64"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/roomversion"
)

type members = []canonicaljson.Member

// Redact applies the redaction algorithm of the room version and returns the
// canonical bytes of what remains, signatures, hashes and event id unchanged.
// unsigned goes; the caller adds redacted_because when it shows the event.
//
// https://spec.matrix.org/v1.19/client-server-api/#redactions
func Redact(v *roomversion.Version, raw []byte) ([]byte, error) {
	all, canonical, err := open(v, raw)
	if err != nil {
		return nil, err
	}
	return canonicaljson.AppendObject(make([]byte, 0, len(canonical)), redacted(v, all, nil)), nil
}

// redacted appends to kept the members that survive redaction, with the content
// that survives. The members passed in are not changed.
func redacted(v *roomversion.Version, all, kept members) members {
	typ, _ := canonicaljson.String(find(all, "type"))
	for _, m := range all {
		switch m.Key {
		case "event_id", "type", "room_id", "sender", "state_key", "hashes", "signatures",
			"depth", "prev_events", "auth_events", "origin_server_ts":
			kept = append(kept, m)
		case "prev_state", "origin", "membership":
			if !v.KeepMore {
				kept = append(kept, m)
			}
		case "content":
			m.Value = redactContent(v, typ, m.Value)
			kept = append(kept, m)
		}
	}
	return kept
}

// redactContent keeps the keys of content that the room version protects for
// the type of event. A content that is not an object becomes {}.
func redactContent(v *roomversion.Version, typ string, content []byte) []byte {
	var keep func(key string) bool
	switch typ {
	case "m.room.member":
		keep = func(key string) bool {
			return key == "membership" || v.KeepAuthorised && key == "join_authorised_via_users_server" ||
				v.KeepMore && key == "third_party_invite"
		}
	case "m.room.create":
		if v.KeepMore && canonicaljson.IsObject(content) {
			return content
		}
		keep = func(key string) bool { return key == "creator" }
	case "m.room.join_rules":
		keep = func(key string) bool { return key == "join_rule" || v.KeepAllow && key == "allow" }
	case "m.room.power_levels":
		keep = func(key string) bool {
			switch key {
			case "ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default":
				return true
			}
			return v.KeepMore && key == "invite"
		}
	case "m.room.aliases":
		keep = func(key string) bool { return v.AliasesRule && key == "aliases" }
	case "m.room.history_visibility":
		keep = func(key string) bool { return key == "history_visibility" }
	case "m.room.redaction":
		keep = func(key string) bool { return v.KeepMore && key == "redacts" }
	default:
		return emptyObject
	}
	var kept members
	for key, value := range canonicaljson.Fields(content) {
		if !keep(key) {
			continue
		}
		if key == "third_party_invite" {
			// Only signed is kept of it. Where there is none, the spec does not say
			// whether {} is left: it is, because deployed servers leave it, and
			// event ids are hashes of what is left.
			if !canonicaljson.IsObject(value) {
				continue
			}
			value = canonicaljson.AppendObject(nil, members{{Key: "signed", Value: canonicaljson.Get(value, "signed")}})
		}
		kept = append(kept, canonicaljson.Member{Key: key, Value: value})
	}
	return canonicaljson.AppendObject(nil, kept)
}

// emptyObject is never written to.
var emptyObject = []byte("{}")

// without returns an object of the members except those named.
func without(all members, names ...string) []byte {
	size := 2
	for i := range all {
		size += len(all[i].Key) + len(all[i].Value) + 4
	}
	return appendWithout(make([]byte, 0, size), all, names...)
}

// appendWithout is without into an empty buffer of the caller's, which hashing
// keeps on the stack.
func appendWithout(dst []byte, all members, names ...string) []byte {
	dst = append(dst, '{')
	for i := range all {
		if skipped(all[i].Key, names) {
			continue
		}
		dst = appendMember(dst, all[i].Key, all[i].Value)
	}
	return append(dst, '}')
}

func skipped(key string, names []string) bool {
	for _, name := range names {
		if key == name {
			return true
		}
	}
	return false
}

// contentHash covers the whole event except what may change after it was made.
func contentHash(all members) [32]byte {
	var buf [1024]byte
	return sha256.Sum256(appendWithout(buf[:0], all, "hashes", "signatures", "unsigned"))
}

// referenceHash covers what survives redaction, hashes included.
func referenceHash(v *roomversion.Version, all members) [32]byte {
	var buf [1024]byte
	var kept [16]canonicaljson.Member
	return sha256.Sum256(appendWithout(buf[:0], redacted(v, all, kept[:0]), "signatures"))
}

func eventID(v *roomversion.Version, hash [32]byte) string {
	encoding := base64.RawURLEncoding
	if v.EventIDs == roomversion.EventIDBase64 {
		encoding = base64.RawStdEncoding
	}
	var buf [44]byte
	buf[0] = '$'
	encoding.Encode(buf[1:], hash[:])
	return string(buf[:])
}

// CheckHash reports whether the content hash of an event is right. When it is
// not, the event is Redacted before it is processed further. The error says
// that raw is not JSON.
//
// https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event
func CheckHash(v *roomversion.Version, raw []byte) (bool, error) {
	all, _, err := open(v, raw)
	if err != nil {
		return false, err
	}
	given, ok := canonicaljson.String(canonicaljson.Get(find(all, "hashes"), "sha256"))
	if !ok {
		return false, nil
	}
	got, err := DecodeBase64(given)
	if err != nil {
		return false, nil
	}
	want := contentHash(all)
	return string(got) == string(want[:]), nil
}

// ReferenceHash returns the hash that event ids are made of, and that room
// versions 1 and 2 cite beside event ids.
//
// https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event
func ReferenceHash(v *roomversion.Version, raw []byte) ([32]byte, error) {
	all, _, err := open(v, raw)
	if err != nil {
		return [32]byte{}, err
	}
	return referenceHash(v, all), nil
}
