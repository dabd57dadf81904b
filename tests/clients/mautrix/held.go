package main

import (
	"encoding/json"
	"maps"
	"slices"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// held is what an app keeps of what came by, beside the timelines. Its lock is
// that of the user.
type held struct {
	messages map[id.EventID]*message
	reactsTo map[id.EventID]reaction
	state    map[stateKey]json.RawMessage
	data     map[dataKey]json.RawMessage
	receipts map[receiptKey]id.EventID
	typing   map[id.RoomID][]id.UserID
	presence map[id.UserID]json.RawMessage
	unread   map[id.RoomID]mautrix.UnreadNotificationCounts
}

// message is a message as an app would show it.
type message struct {
	Body      string         `json:"body"`
	Edited    bool           `json:"edited"`
	Reactions map[string]int `json:"reactions"`
	ReplyTo   id.EventID     `json:"reply_to,omitempty"`
	Thread    id.EventID     `json:"thread,omitempty"`

	sender id.UserID
	// versions are the bodies, and the events they are from.
	versions []version
}

type (
	version struct {
		id   id.EventID
		body string
	}
	reaction struct {
		to  id.EventID
		key string
	}
	stateKey   struct{ room, typ, key string }
	dataKey    struct{ room, typ string }
	receiptKey struct{ room, user, typ, thread string }
)

func newHeld() held {
	return held{
		map[id.EventID]*message{}, map[id.EventID]reaction{}, map[stateKey]json.RawMessage{}, map[dataKey]json.RawMessage{},
		map[receiptKey]id.EventID{}, map[id.RoomID][]id.UserID{}, map[id.UserID]json.RawMessage{}, map[id.RoomID]mautrix.UnreadNotificationCounts{},
	}
}

// keep holds what an event of a /sync changes.
func (u *user) keep(evt *event.Event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	h := &u.held
	switch content := evt.Content.Parsed.(type) {
	case *event.MessageEventContent:
		h.say(evt, content)
	case *event.ReactionEventContent:
		if m := h.messages[content.RelatesTo.GetAnnotationID()]; m != nil && h.reactsTo[evt.ID].to == "" {
			m.Reactions[content.RelatesTo.Key]++
			h.reactsTo[evt.ID] = reaction{content.RelatesTo.EventID, content.RelatesTo.Key}
		}
	case *event.RedactionEventContent:
		h.redact(evt.Redacts)
	case *event.ReceiptEventContent:
		for eventID, receipts := range *content {
			for typ, users := range receipts {
				for userID, r := range users {
					h.receipts[receiptKey{string(evt.RoomID), string(userID), string(typ), string(r.ThreadID)}] = eventID
				}
			}
		}
	case *event.TypingEventContent:
		h.typing[evt.RoomID] = slices.Clone(content.UserIDs)
	}
	switch {
	case evt.StateKey != nil:
		h.state[stateKey{string(evt.RoomID), evt.Type.Type, *evt.StateKey}] = evt.Content.VeryRaw
	case evt.Type.Class == event.AccountDataEventType:
		h.data[dataKey{string(evt.RoomID), evt.Type.Type}] = evt.Content.VeryRaw
	case evt.Type == event.EphemeralEventPresence:
		h.presence[evt.Sender] = evt.Content.VeryRaw
	}
}

func (h *held) say(evt *event.Event, content *event.MessageEventContent) {
	if of := content.RelatesTo.GetReplaceID(); of != "" {
		if m := h.messages[of]; m != nil && m.sender == evt.Sender && content.NewContent != nil {
			m.versions = append(m.versions, version{evt.ID, content.NewContent.Body})
			m.Body, m.Edited = content.NewContent.Body, true
		}
		return
	}
	h.messages[evt.ID] = &message{
		Body: content.Body, Reactions: map[string]int{}, sender: evt.Sender, versions: []version{{evt.ID, content.Body}},
		ReplyTo: content.RelatesTo.GetNonFallbackReplyTo(), Thread: content.RelatesTo.GetThreadParent(),
	}
}

func (h *held) redact(id id.EventID) {
	if r, ok := h.reactsTo[id]; ok {
		m := h.messages[r.to]
		if m.Reactions[r.key]--; m.Reactions[r.key] == 0 {
			delete(m.Reactions, r.key)
		}
		delete(h.reactsTo, id)
	}
	for _, m := range h.messages {
		if i := slices.IndexFunc(m.versions, func(v version) bool { return v.id == id }); i > 0 {
			m.versions = slices.Delete(m.versions, i, i+1)
			m.Body, m.Edited = m.versions[len(m.versions)-1].body, len(m.versions) > 1
		}
	}
}

// count keeps the unread counts of a /sync.
func (u *user) count(resp *mautrix.RespSync) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for room, data := range resp.Rooms.Join {
		if data.UnreadNotifications != nil {
			u.held.unread[room] = *data.UnreadNotifications
		}
	}
}

func (m *message) clone() message {
	c := *m
	c.Reactions = maps.Clone(m.Reactions)
	return c
}
