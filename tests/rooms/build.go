package rooms

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/receipt"
	"github.com/virga-im/virga/events/roomversion"
)

const (
	keyID       = "ed25519:1"
	policyKeyID = "ed25519:policy_server"
	start       = 1_750_000_000_000 // when every story begins, in milliseconds
	creator     = "@alice:a.org"
)

// keyOf is the key of a server or identity server: not a secret at all.
func keyOf(server string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(fmt.Sprintf("%-32.32s", server)))
}

func publicKey(server string) ed25519.PublicKey { return keyOf(server).Public().(ed25519.PublicKey) }

// Signed is an event of a story as it goes over the wire.
type Signed struct {
	As    string          `json:"as"`
	Want  string          `json:"want"`
	Event json.RawMessage `json:"event"`
}

// teller tells a story in one room version: it makes each draft into an event and
// has the room judge it, because the next draft may build on what became of it.
type teller struct {
	v     *roomversion.Version
	world *World
	ids   map[string]string // by label
	rooms map[string]string // room ids by the name of the room
	last  map[string]string // the last accepted event by the name of the room
	n     int64
}

// tell makes the events of a story and judges them. Errors say that the story
// makes no sense; verdicts are the caller's to compare.
func tell(s *Story, v *roomversion.Version) (events []Signed, verdicts []receipt.Verdict, err error) {
	t := teller{v: v, world: NewWorld(v), ids: map[string]string{}, rooms: map[string]string{}, last: map[string]string{}}
	for i := range s.Lines {
		l := &s.Lines[i]
		if !within(l.In, v) {
			continue
		}
		raw, err := t.make(l)
		if err != nil {
			return nil, nil, fmt.Errorf("line %d, %s: %w", i+2, l.As, err)
		}
		verdict, r := t.world.Receive(raw)
		if r != nil {
			eventID := r.Event().ID
			if _, taken := t.ids[l.As]; !taken || verdict.Outcome == receipt.Accepted {
				t.ids[l.As] = eventID
			}
			if verdict.Outcome == receipt.Accepted {
				t.last[l.Room] = eventID
			}
			if l.Type == "m.room.create" && t.rooms[l.Room] == "" {
				t.rooms[l.Room] = r.Event().RoomID
			}
		}
		events = append(events, Signed{As: l.As, Want: l.want(v), Event: raw})
		verdicts = append(verdicts, verdict)
	}
	return events, verdicts, nil
}

// make is the event of a draft: canonical, hashed and signed.
func (t *teller) make(l *Line) (json.RawMessage, error) {
	if l.Bytes != "" {
		return json.RawMessage(l.Bytes), nil
	}
	b, err := t.builder(l)
	if err != nil {
		return nil, err
	}
	raw, err := b.Template(t.v)
	if err != nil {
		return nil, err
	}
	if raw, err = edit(raw, l.Set, l.Unset); err != nil {
		return nil, err
	}
	signers := l.Signers
	if signers == nil {
		signers = []string{id.Server(l.Sender)}
	}
	for i, server := range signers {
		sign := pdu.Sign
		if i == 0 {
			sign = pdu.HashAndSign
		}
		if raw, err = sign(t.v, raw, server, keyID, keyOf(server)); err != nil {
			return nil, err
		}
	}
	if l.Policy != "" {
		if raw, err = pdu.Sign(t.v, raw, l.Policy, policyKeyID, keyOf("policy of "+l.Policy)); err != nil {
			return nil, err
		}
	}
	return edit(raw, l.Tamper, nil)
}

func (t *teller) builder(l *Line) (*pdu.Builder, error) {
	t.n++
	content, err := t.expand(l.Content)
	if err != nil {
		return nil, err
	}
	b := &pdu.Builder{
		Type: l.Type, Sender: l.Sender, StateKey: l.StateKey, Content: content,
		Depth: t.n, OriginServerTS: start + t.n*1000, Hashes: map[string]string{},
	}
	if t.v.GivenEventIDs() {
		if b.EventID = l.ID; b.EventID == "" {
			b.EventID = fmt.Sprintf("$%d-%s:%s", t.n, l.As, id.Server(l.Sender))
		}
	}
	isCreate := l.Type == "m.room.create" && l.StateKey != nil && *l.StateKey == ""
	switch room := t.rooms[l.Room]; {
	case room != "" && !(isCreate && t.v.HashRoomIDs):
		b.RoomID = room
	case !t.v.HashRoomIDs:
		b.RoomID = "!" + l.Room + "room:a.org"
	}
	prev := l.Prev
	if prev == nil && t.last[l.Room] != "" && !isCreate {
		b.PrevEvents = []string{t.last[l.Room]}
	}
	for _, label := range prev {
		b.PrevEvents = append(b.PrevEvents, t.labelled(label))
	}
	if l.Redacts != "" {
		b.Redacts = t.labelled(l.Redacts)
	}
	for _, label := range l.Auth {
		b.AuthEvents = append(b.AuthEvents, t.labelled(label))
	}
	if l.Auth == nil {
		view, err := auth.ViewOfBuilder(t.v, b)
		if err != nil {
			return nil, err
		}
		before, err := t.world.after(b.PrevEvents)
		if err != nil {
			return nil, err
		}
		for _, k := range auth.Needed(t.v, view) {
			if a := before[k]; a != nil {
				b.AuthEvents = append(b.AuthEvents, a.ID)
			}
		}
	}
	for _, ref := range slices.Concat(b.PrevEvents, b.AuthEvents) {
		if known := t.world.events[ref]; known != nil && t.v.GivenEventIDs() {
			hash, err := pdu.ReferenceHash(t.v, known.event.JSON())
			if err != nil {
				return nil, err
			}
			b.Hashes[ref] = base64.RawStdEncoding.EncodeToString(hash[:])
		}
	}
	return b, nil
}

// labelled is the id of the event with a label; one that nobody has is of an
// event that nobody has.
func (t *teller) labelled(label string) string {
	if known := t.ids[label]; known != "" {
		return known
	}
	if t.v.GivenEventIDs() {
		return "$" + label + ":nowhere.org"
	}
	return "$" + fmt.Sprintf("%-43.43s", label+strings.Repeat("_", 43))
}

// edit sets fields and takes fields away. The values keep their form, so that a
// number can be one that canonical JSON does not know.
func edit(raw json.RawMessage, set map[string]json.RawMessage, unset []string) (json.RawMessage, error) {
	if len(set) == 0 && len(unset) == 0 {
		return raw, nil
	}
	fields := map[string]json.RawMessage{}
	for key, value := range canonicaljson.Fields(raw) {
		fields[key] = value
	}
	for key, value := range set {
		fields[key] = value
	}
	for _, key := range unset {
		delete(fields, key)
	}
	return json.Marshal(fields)
}

// expand replaces what a draft cannot spell out: the value "$version" by the room
// version, the user "$creator" in users by the creator (in version 12, where the
// creator has no level, by nothing), the value "$key x" by the public key of x,
// and the member "$sign" of an object by the signatures of whom it names.
func (t *teller) expand(content json.RawMessage) (json.RawMessage, error) {
	if content == nil {
		return json.RawMessage("{}"), nil
	}
	if !strings.Contains(string(content), `"$`) {
		return content, nil
	}
	var value any
	dec := json.NewDecoder(strings.NewReader(string(content)))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		return nil, err
	}
	value, err := t.expanded(value)
	if err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

func (t *teller) expanded(value any) (any, error) {
	switch value := value.(type) {
	case string:
		if value == "$version" {
			return t.v.ID, nil
		}
		if whose, ok := strings.CutPrefix(value, "$key "); ok {
			return base64.RawStdEncoding.EncodeToString(publicKey(whose)), nil
		}
	case []any:
		for i, inner := range value {
			replaced, err := t.expanded(inner)
			if err != nil {
				return nil, err
			}
			value[i] = replaced
		}
	case map[string]any:
		for key, inner := range value {
			replaced, err := t.expanded(inner)
			if err != nil {
				return nil, err
			}
			value[key] = replaced
		}
		if level, ok := value["$creator"]; ok {
			delete(value, "$creator")
			if !t.v.Creators {
				value[creator] = level
			}
		}
		if whose, ok := value["$sign"].(string); ok {
			delete(value, "$sign")
			raw, err := json.Marshal(value)
			if err != nil {
				return nil, err
			}
			signed, err := pdu.SignJSON(raw, whose, "ed25519:0", keyOf(whose))
			return json.RawMessage(signed), err
		}
	}
	return value, nil
}
