// Package rooms tells stories of rooms: short histories, valid and hostile, each
// event with what must become of it, in every room version in which the story can
// happen.
//
// A story is a file in stories/, named by what happens. Its first line says so in
// a sentence and names the room versions; each further line is the draft of an
// event, in the words of the event format, with labels in place of event ids:
//
//	{"as":"ban", "type":"m.room.member", "sender":"@alice:a.org", "state_key":"@bob:b.org", "content":{"membership":"ban"},
//	 "want":"rejected 5.5.1 in 1-5, 4.5.1 in 6-7, 4.6.1 in 8-11, 5.6.1 in 12"}
//
// The drafts are made into events that are hashed and signed for real, and the
// bytes go through the checks that events of other servers go through. The bytes
// of the everyday rooms are kept in signed/, and of the other stories digests, so
// that hashing and signing cannot change unnoticed. After a change to a story,
// write both with
//
//	go test ./tests/rooms -update
package rooms

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/virga-im/virga/events/roomversion"
)

// Story is a file of stories/.
type Story struct {
	Name     string
	Says     string
	Versions []*roomversion.Version
	Lines    []Line
}

// Line is the draft of one event. What is left out is as an honest server would
// have it.
type Line struct {
	As   string // the label; the type when it is left out
	In   string // the versions that have this line; all of the story when it is left out
	Room string // which room, when there are several

	Type     string
	Sender   string
	StateKey *string `json:"state_key"`
	Content  json.RawMessage
	Redacts  string // a label

	Prev []string // labels; the last event that was accepted when it is left out
	Auth []string // labels; the selection from the state at Prev when it is left out
	ID   string   // the event id in versions 1 and 2, "$mine:b.org"

	Set    map[string]json.RawMessage // fields that the event has instead, before it is hashed
	Unset  []string                   // fields that it lacks
	Tamper map[string]json.RawMessage // fields that are changed after it was signed
	Bytes  string                     // the whole event, when it is not even that

	Signers []string // servers that sign; that of the sender when it is left out
	Policy  string   // the policy server that signs besides

	Want string // what must become of it: see want
	Why  string // for the reader
}

// stories reads all stories.
func stories() ([]Story, error) {
	files, err := filepath.Glob("stories/*.jsonl")
	if err != nil {
		return nil, err
	}
	var all []Story
	for _, file := range files {
		s, err := readStory(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func readStory(file string) (Story, error) {
	s := Story{Name: strings.TrimSuffix(filepath.Base(file), ".jsonl")}
	b, err := os.ReadFile(file)
	if err != nil {
		return s, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var head struct{ Story, Versions string }
	if err := dec.Decode(&head); err != nil {
		return s, err
	}
	s.Says = head.Story
	for _, v := range roomversion.All() {
		if within(head.Versions, v) {
			s.Versions = append(s.Versions, v)
		}
	}
	if s.Says == "" || len(s.Versions) == 0 {
		return s, fmt.Errorf("the first line needs a story and its versions")
	}
	for dec.More() {
		var l Line
		if err := dec.Decode(&l); err != nil {
			return s, fmt.Errorf("line %d: %w", len(s.Lines)+2, err)
		}
		if l.As == "" {
			l.As = l.Type
		}
		s.Lines = append(s.Lines, l)
	}
	return s, nil
}

// within reports whether a list of versions, such as "1-5 8 12", has v. An empty
// list has all.
func within(versions string, v *roomversion.Version) bool {
	if versions == "" {
		return true
	}
	n, _ := strconv.Atoi(v.ID)
	for _, part := range strings.Fields(versions) {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		lo, err1 := strconv.Atoi(from)
		hi, err2 := strconv.Atoi(to)
		if err1 == nil && err2 == nil && n >= lo && n <= hi {
			return true
		}
	}
	return false
}

// want is what must become of an event in a version: "accepted" when Want is
// empty; "redacted", which is accepted with a wrong content hash; "rejected" or
// "soft failed" and the number of the rule; "dropped" and the number of the check.
// Where the numbers differ by version, they are listed:
//
//	rejected 5.2.3 in 1-5, 4.2.3 in 6-7, 4.3.3 in 8-11, 5.3.3 in 12
//
// A version that is not listed accepts the event.
func (l *Line) want(v *roomversion.Version) string {
	if l.Want == "" {
		return "accepted"
	}
	outcome := ""
	for _, part := range strings.Split(l.Want, ", ") {
		what, in, listed := strings.Cut(part, " in ")
		if i := strings.LastIndexByte(what, ' '); i >= 0 && what != "soft failed" {
			outcome = what[:i+1]
		} else if what[0] >= '0' && what[0] <= '9' {
			what = outcome + what
		}
		if !listed || within(in, v) {
			return what
		}
	}
	return "accepted"
}
