package pdu

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRelationsThatDoNotMatchTheSchemaAreNone(t *testing.T) {
	long := strings.Repeat("x", MaxField+1)
	for content, want := range map[string]Relation{
		`{"m.relates_to":{"rel_type":"m.thread","event_id":"$a"}}`:                                 {Type: "m.thread", EventID: "$a"},
		`{"m.relates_to":{"rel_type":"m.annotation","event_id":"$a","key":"+"}}`:                   {Type: "m.annotation", EventID: "$a", Key: "+"},
		`{"m.relates_to":{"rel_type":"m.annotation","event_id":"$a","key":1}}`:                     {Type: "m.annotation", EventID: "$a"},
		`{"m.relates_to":{"rel_type":"x","event_id":"$a","m.in_reply_to":{"event_id":"$b"}}}`:      {Type: "x", EventID: "$a"},
		`{"m.relates_to":{"m.in_reply_to":{"event_id":"$b"}}}`:                                     {},
		`{"m.relates_to":{"rel_type":"m.thread"}}`:                                                 {},
		`{"m.relates_to":{"event_id":"$a"}}`:                                                       {},
		`{"m.relates_to":{"rel_type":"","event_id":"$a"}}`:                                         {},
		`{"m.relates_to":{"rel_type":["m.thread"],"event_id":"$a"}}`:                               {},
		`{"m.relates_to":{"rel_type":"m.thread","event_id":7}}`:                                    {},
		`{"m.relates_to":{"rel_type":"m.thread","event_id":"a"}}`:                                  {},
		`{"m.relates_to":{"rel_type":"m.thread","event_id":"$a##b"}}`:                              {},
		`{"m.relates_to":{"rel_type":"m.thread","event_id":"$` + long + `"}}`:                      {},
		`{"m.relates_to":{"rel_type":"` + long + `","event_id":"$a"}}`:                             {},
		`{"m.relates_to":"m.thread"}`:                                                              {},
		`{"m.relates_to":null}`:                                                                    {},
		`{}`:                                                                                       {},
		`{"m.new_content":{"m.relates_to":{"rel_type":"m.thread","event_id":"$a"}},"body":"edit"}`: {},
	} {
		if r, ok := RelationOf([]byte(content)); r != want || ok != (want != Relation{}) {
			t.Errorf("%s: %v, %v", content, r, ok)
		}
	}
}

func TestValidityOfReplacements(t *testing.T) {
	key := ""
	original := Event{ID: "$a", RoomID: "!r", Type: "m.room.message", Sender: "@alice:x", Content: json.RawMessage(`{"body":"one"}`)}
	edit := Event{
		ID: "$b", RoomID: "!r", Type: "m.room.message", Sender: "@alice:x",
		Content: json.RawMessage(`{"m.new_content":{},"m.relates_to":{"rel_type":"m.replace","event_id":"$a"}}`),
	}
	if !edit.Replaces(&original) {
		t.Error("a plain edit is refused")
	}
	for name, change := range map[string]func(original, edit *Event){
		"another room":   func(_, e *Event) { e.RoomID = "!s" },
		"another sender": func(_, e *Event) { e.Sender = "@bob:x" },
		"another type":   func(_, e *Event) { e.Type = "m.sticker" },
		"a state event":  func(_, e *Event) { e.StateKey = &key },
		"of state":       func(o, _ *Event) { o.StateKey = &key },
		"another event":  func(o, _ *Event) { o.ID = "$c" },
		"no new content": func(_, e *Event) {
			e.Content = json.RawMessage(`{"m.relates_to":{"rel_type":"m.replace","event_id":"$a"}}`)
		},
		"a strange one": func(_, e *Event) {
			e.Content = json.RawMessage(`{"m.new_content":1,"m.relates_to":{"rel_type":"m.replace","event_id":"$a"}}`)
		},
		"another kind": func(_, e *Event) {
			e.Content = json.RawMessage(`{"m.new_content":{},"m.relates_to":{"rel_type":"m.thread","event_id":"$a"}}`)
		},
		"an edit's edit": func(o, _ *Event) { o.Content = edit.Content },
	} {
		o, e := original, edit
		change(&o, &e)
		if e.Replaces(&o) {
			t.Errorf("%s is taken", name)
		}
	}
	original.Type, edit.Type = "m.room.encrypted", "m.room.encrypted"
	edit.Content = json.RawMessage(`{"ciphertext":"","m.relates_to":{"rel_type":"m.replace","event_id":"$a"}}`)
	if !edit.Replaces(&original) {
		t.Error("an encrypted edit is refused")
	}
	original.Content = json.RawMessage(`{"m.relates_to":{"rel_type":"m.thread","event_id":"$t"}}`)
	if !edit.Replaces(&original) {
		t.Error("an edit in a thread is refused")
	}
}
