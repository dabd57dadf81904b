package auth

import (
	"encoding/json"
	"fmt"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
)

const (
	typeCreate           = "m.room.create"
	typeMember           = "m.room.member"
	typeJoinRules        = "m.room.join_rules"
	typePowerLevels      = "m.room.power_levels"
	typeThirdPartyInvite = "m.room.third_party_invite"
	typeAliases          = "m.room.aliases"
	typeRedaction        = "m.room.redaction"
)

// View is what the rules and state resolution see of an event: small enough to
// be stored beside it and loaded by the thousand. It is immutable.
type View struct {
	ID, Room, Type, Sender string
	// StateKey is meaningful only if State is set.
	StateKey string
	State    bool

	Depth, OriginServerTS int64
	AuthEvents            []string

	// Generation is set by whoever stores the view: one more than the highest
	// generation among the auth events, so that events with a generation have only
	// events of lower generations in their auth chains. 0 is that it is not known,
	// as it is not if that of an auth event is not. State resolution walks auth
	// chains by it; nothing else depends on it.
	Generation int64

	// PrevEvents is how many there are, and OnlyPrev the one if it is one.
	PrevEvents int
	OnlyPrev   string

	// Rejected is set by whoever stores the view, once the event failed the
	// rules at its auth events or at the state before it.
	Rejected bool

	// Redacts is the event that a redaction of room version 1 or 2 names.
	Redacts string

	Content Content
}

// Content holds the fields of content that rules read, for the types of event
// in whose content they read them. Everything else is left out.
type Content struct {
	raw json.RawMessage // the fields below as JSON, for Encode

	// m.room.member
	Membership       string
	Authorised       string // join_authorised_via_users_server; "" with HasAuthorised when it is not a string
	HasAuthorised    bool
	HasThirdParty    bool // content has a third_party_invite
	ThirdPartySigned *Signed

	// m.room.join_rules
	JoinRule    string // "" with HasJoinRule when it is not a string
	HasJoinRule bool

	// m.room.create
	Creator            string
	HasCreator         bool
	RoomVersion        string
	HasRoomVersion     bool
	Unfederated        bool // m.federate is false
	AdditionalCreators []string
	BadCreators        bool // additional_creators is there and not an array of strings

	// m.room.power_levels
	Levels *LevelsContent

	// m.room.third_party_invite
	PublicKeys [][]byte
}

// Signed is content.third_party_invite.signed of an invite.
type Signed struct {
	MXID, Token string
	Complete    bool // mxid and token are there
	Message     []byte
	Signatures  [][]byte
}

// Is reports whether e is the state event of this type and state key.
func (e *View) Is(typ, stateKey string) bool {
	return e.State && e.Type == typ && e.StateKey == stateKey
}

// Key is the state that e sets; it is meaningful only for state events.
func (e *View) Key() Key { return Key{e.Type, e.StateKey} }

// ViewOf projects an event. The error says that its content, though valid JSON,
// cannot be read; Parse lets no such event pass.
func ViewOf(e *pdu.Event) (*View, error) {
	w := &View{
		ID: e.ID, Room: e.RoomID, Type: e.Type, Sender: e.Sender,
		Depth: e.Depth, OriginServerTS: e.OriginServerTS,
		AuthEvents: e.AuthEvents,
	}
	w.setPrev(e.PrevEvents)
	if e.StateKey != nil {
		w.State, w.StateKey = true, *e.StateKey
	}
	if e.Version.RedactionRule {
		w.Redacts = e.Redacts
	}
	w.Content = contentOf(e.Type, e.Content)
	return w, nil
}

// ViewOfBuilder projects an event that is not built yet, so that its auth events
// can be chosen and the rules be asked before anything is signed. The content
// must be valid JSON for the room version. ID and AuthEvents are not those of
// the event to be.
func ViewOfBuilder(v *roomversion.Version, b *pdu.Builder) (*View, error) {
	content := []byte(b.Content)
	if content == nil {
		content = []byte("{}")
	}
	content, err := canonicaljson.Encode(content, v.JSONMode())
	if err != nil {
		return nil, fmt.Errorf("content: %w: %w", pdu.ErrBadJSON, err)
	}
	w := &View{
		ID: b.EventID, Room: b.RoomID, Type: b.Type, Sender: b.Sender,
		Depth: b.Depth, OriginServerTS: b.OriginServerTS,
		AuthEvents: b.AuthEvents,
	}
	w.setPrev(b.PrevEvents)
	if b.StateKey != nil {
		w.State, w.StateKey = true, *b.StateKey
	}
	if v.RedactionRule {
		w.Redacts = b.Redacts
	}
	w.Content = contentOf(b.Type, content)
	return w, nil
}

func (e *View) setPrev(prev []string) {
	e.PrevEvents = len(prev)
	if len(prev) == 1 {
		e.OnlyPrev = prev[0]
	}
}

// contentOf reads what rules need out of valid JSON.
func contentOf(typ string, raw []byte) Content {
	var c Content
	var keep []canonicaljson.Member
	for key, value := range canonicaljson.Fields(raw) {
		if c.field(typ, key, value) {
			keep = append(keep, canonicaljson.Member{Key: key, Value: value})
		}
	}
	if len(keep) > 0 {
		c.raw = canonicaljson.AppendObject(nil, keep)
	}
	return c
}

// field reads one field of content, and reports whether it is one that matters.
func (c *Content) field(typ, key string, value []byte) bool {
	switch typ {
	case typeMember:
		return c.memberField(key, value)
	case typeJoinRules:
		if key == "join_rule" {
			c.HasJoinRule = true
			c.JoinRule, _ = canonicaljson.String(value)
			return true
		}
	case typeCreate:
		return c.createField(key, value)
	case typePowerLevels:
		if c.Levels == nil {
			c.Levels = new(LevelsContent)
		}
		return c.Levels.field(key, value)
	case typeThirdPartyInvite:
		return c.inviteField(key, value)
	}
	return false
}

func (c *Content) memberField(key string, value []byte) bool {
	switch key {
	case "membership":
		c.Membership, _ = canonicaljson.String(value)
	case "join_authorised_via_users_server":
		c.HasAuthorised = true
		c.Authorised, _ = canonicaljson.String(value)
	case "third_party_invite":
		c.HasThirdParty = true
		c.ThirdPartySigned = signedOf(canonicaljson.Get(value, "signed"))
	default:
		return false
	}
	return true
}

func (c *Content) createField(key string, value []byte) bool {
	switch key {
	case "creator":
		c.HasCreator = true
		c.Creator, _ = canonicaljson.String(value)
	case "room_version":
		c.HasRoomVersion = true
		c.RoomVersion, _ = canonicaljson.String(value)
	case "m.federate":
		federate, ok := canonicaljson.Bool(value)
		c.Unfederated = ok && !federate
	case "additional_creators":
		c.BadCreators = !canonicaljson.IsArray(value)
		for item := range canonicaljson.Elements(value) {
			user, ok := canonicaljson.String(item)
			if !ok {
				c.BadCreators = true
			}
			c.AdditionalCreators = append(c.AdditionalCreators, user)
		}
	default:
		return false
	}
	return true
}

// Encode writes the view in a compact form of our own, for the store.
func (e *View) Encode() []byte {
	w := writer(make([]byte, 0, 192+48*len(e.AuthEvents)+len(e.Content.raw)))
	flags := byte(0)
	if e.State {
		flags |= flagState
	}
	if e.Rejected {
		flags |= flagRejected
	}
	w = append(w, encoding, flags)
	w.text(e.ID)
	w.text(e.Room)
	w.text(e.Type)
	w.text(e.Sender)
	w.text(e.StateKey)
	w.number(e.Depth)
	w.number(e.OriginServerTS)
	w.number(e.Generation)
	w.number(int64(e.PrevEvents))
	w.text(e.OnlyPrev)
	w.text(e.Redacts)
	w.number(int64(len(e.AuthEvents)))
	for _, a := range e.AuthEvents {
		w.text(a)
	}
	w.text(string(e.Content.raw))
	return w
}

// Decode reads what Encode wrote.
func Decode(b []byte) (*View, error) {
	if len(b) < 2 || b[0] != encoding {
		return nil, fmt.Errorf("decode auth view: unknown encoding")
	}
	e := &View{State: b[1]&flagState != 0, Rejected: b[1]&flagRejected != 0}
	r := reader{rest: b[2:]}
	e.ID, e.Room, e.Type, e.Sender, e.StateKey = r.text(), r.text(), r.text(), r.text(), r.text()
	e.Depth, e.OriginServerTS, e.Generation = r.number(), r.number(), r.number()
	e.PrevEvents = int(r.number())
	e.OnlyPrev, e.Redacts = r.text(), r.text()
	if n := r.number(); n >= 0 && n <= int64(len(r.rest)) {
		e.AuthEvents = make([]string, 0, n)
		for range n {
			e.AuthEvents = append(e.AuthEvents, r.text())
		}
	} else {
		r.bad = true
	}
	content := r.text()
	if r.bad || len(r.rest) != 0 {
		return nil, fmt.Errorf("decode auth view: truncated")
	}
	e.Content = contentOf(e.Type, []byte(content))
	return e, nil
}
