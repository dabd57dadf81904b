package timeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/timeline/words"
)

// searched is a text of an event that is searched.
type searched struct {
	kind words.Kind
	text string
	// edits is the event that it replaces, if it may, and plain what it says itself.
	edits, plain string
}

// searchedIn returns what of an event is searched; ok is false for types of events
// that are not.
//
// https://spec.matrix.org/v1.19/client-server-api/#room_events
func searchedIn(e *pdu.Event) (t searched, ok bool) {
	read := func(path ...string) string {
		text, _ := canonicaljson.String(canonicaljson.Get(e.Content, path...))
		return text
	}
	switch e.Type {
	case "m.room.message":
		t = searched{kind: words.Body, text: read("body")}
		if rel, is := e.Relation(); is && rel.Type == pdu.RelReplace && rel.EventID != e.ID && e.MayReplace() {
			t.edits, t.plain, t.text = rel.EventID, t.text, read("m.new_content", "body")
		}
	case "m.room.name":
		t = searched{kind: words.Name, text: read("name")}
	case "m.room.topic":
		t = searched{kind: words.Topic, text: topicIn(e)}
	default:
		return t, false
	}
	return t, true
}

// topicIn is a topic with its plain text representation, if that is another.
func topicIn(e *pdu.Event) string {
	topic, _ := canonicaljson.String(canonicaljson.Get(e.Content, "topic"))
	for part := range canonicaljson.Elements(canonicaljson.Get(e.Content, "m.topic", "m.text")) {
		mime, has := canonicaljson.String(canonicaljson.Get(part, "mimetype"))
		body, _ := canonicaljson.String(canonicaljson.Get(part, "body"))
		if (!has || mime == "text/plain") && body != topic {
			return topic + "\n" + body
		}
	}
	return topic
}

// docOf is an event as the index has it.
func docOf(r *EventRow, e *pdu.Event, kind words.Kind) words.Doc {
	return words.Doc{Time: min(max(e.OriginServerTS, 0), words.MaxTime), Pos: uint64(r.Pos), Kind: kind}
}

// senderKey is a word that all events of a sender have in the index. No text has it.
func senderKey(user string) string {
	sum := sha256.Sum256([]byte(user))
	return "@" + hex.EncodeToString(sum[:8])
}

// Entries returns what the index has of the events of a room. Edits that are indexed
// already, which came before the event that they edit, are words of it too.
func (s *Service) Entries(ctx context.Context, room string, rows []*EventRow, indexed func(Pos) bool) ([]words.Entry, error) {
	var entries []words.Entry
	add := func(r *EventRow, e *pdu.Event, kind words.Kind, text string) {
		if keys := words.Keys(text); len(keys) > 0 {
			entries = append(entries, words.Entry{Doc: docOf(r, e, kind), Keys: append(keys, senderKey(e.Sender))})
		}
	}
	for _, r := range rows {
		if r.Kind == KindState || r.Redacted != "" {
			continue
		}
		e, err := r.Event()
		if err != nil {
			return nil, err
		}
		if t, ok := searchedIn(e); ok {
			at, of, text, err := s.edited(ctx, room, r, e, t)
			if err != nil {
				return nil, err
			}
			add(at, of, t.kind, text)
		}
		if !r.Edited {
			continue
		}
		edits, err := s.editsBefore(ctx, room, r, e, indexed)
		if err != nil {
			return nil, err
		}
		for _, edit := range edits {
			by, err := edit.Event()
			if err != nil {
				return nil, err
			}
			if t, ok := searchedIn(by); ok && by.Replaces(e) {
				add(r, e, t.kind, t.text)
			}
		}
	}
	return entries, nil
}

// edited returns the event that a text is to be found as: the one that it edits, if
// that is here, or the one that has it.
func (s *Service) edited(ctx context.Context, room string, r *EventRow, e *pdu.Event, t searched) (*EventRow, *pdu.Event, string, error) {
	if t.edits == "" {
		return r, e, t.text, nil
	}
	rows, err := s.EventsByID(ctx, room, []string{t.edits})
	if err != nil {
		return nil, nil, "", err
	}
	original := rows[t.edits]
	if original == nil {
		return r, e, t.text, nil
	}
	of, err := original.Event()
	if err != nil {
		return nil, nil, "", err
	}
	if !e.Replaces(of) {
		return r, e, t.plain, nil
	}
	return original, of, t.text, nil
}

// editsBefore returns the latest edits of an event that were indexed before it.
func (s *Service) editsBefore(ctx context.Context, room string, r *EventRow, e *pdu.Event, indexed func(Pos) bool) ([]*EventRow, error) {
	pre := editsOf(r.ID, e.Sender)
	edits, err := s.relations(ctx, room, pre, pre+"\U0010FFFF", true, maxEdits)
	if err != nil {
		return nil, err
	}
	var at []Pos
	for _, edit := range edits {
		if indexed(edit.Pos) {
			at = append(at, edit.Pos)
		}
	}
	found, err := s.rowsAt(ctx, room, at)
	rows := make([]*EventRow, 0, len(found))
	for _, p := range at {
		if row := found[p]; row != nil && row.Redacted == "" {
			rows = append(rows, row)
		}
	}
	return rows, err
}
