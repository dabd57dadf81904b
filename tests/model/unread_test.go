package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// counts are numbers of events that a user has not read.
type counts struct {
	Highlight    int `json:"highlight_count"`
	Notification int `json:"notification_count"`
}

// unread are the counts of a room, as /sync tells them. Without threads All has
// everything; with them, it has the main timeline.
type unread struct {
	All     counts
	Threads map[string]counts
}

func (u unread) equal(v unread) bool { return u.All == v.All && maps.Equal(u.Threads, v.Threads) }

// keptThreads is of how many threads at least the server keeps the counts apart.
const keptThreads = 20

// recount counts what a user who is in the room has not read, from the beginning:
// what others have sent since the user came, that is not redacted and that the
// default push rules notify of, unless a receipt covers it or something that the
// user has sent later in its thread.
//
// https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
func (t *truth) recount(user string, receipts map[receiptID]string) map[string]counts {
	threads := map[string]counts{}
	begin, was := 0, ""
	for _, m := range t.moves[user] {
		if m.membership == "join" && was != "join" {
			begin = m.at
		}
		was = m.membership
	}
	read := map[string]int{} // by thread, "" is the room
	for id, at := range receipts {
		if id.user == user {
			read[id.thread] = max(read[id.thread], t.at[at])
		}
	}
	for i, f := range t.facts {
		if f.Sender == user && f.StateKey == nil && f.Type != "m.room.redaction" && i > begin {
			thread := t.thread(i)
			read[thread] = max(read[thread], i)
		}
	}
	for i, f := range t.facts {
		thread := t.thread(i)
		if i <= max(begin, read[""], read[thread]) || f.Sender == user || f.redactedBy != "" {
			continue
		}
		notify, highlight := t.notifies(user, i)
		if !notify {
			continue
		}
		c := threads[thread]
		c.Notification++
		if highlight {
			c.Highlight++
		}
		threads[thread] = c
	}
	return threads
}

// thread is the thread that an event is in.
//
// https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts
func (t *truth) thread(i int) string {
	for range 3 {
		r := t.facts[i].relation()
		if r.Type == "m.thread" {
			return r.ID
		}
		parent, ok := t.at[r.ID]
		if r.Type == "" || !ok {
			break
		}
		i = parent
	}
	return "main"
}

// notifies is what the default push rules say of an event of somebody else, as far
// as there are such events here.
//
// https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
func (t *truth) notifies(user string, i int) (notify, highlight bool) {
	f := t.facts[i]
	var c struct {
		Mentions struct {
			Users []string `json:"user_ids"`
			Room  bool     `json:"room"`
		} `json:"m.mentions"`
	}
	_ = json.Unmarshal(f.Content, &c)
	switch {
	case f.Type == "m.room.member": // .m.rule.member_event
	case slices.Contains(c.Mentions.Users, user), c.Mentions.Room && t.mayNotify(i):
		return true, true // .m.rule.is_user_mention, .m.rule.is_room_mention
	case f.Type == "m.reaction", f.relation().Type == "m.replace": // .m.rule.reaction, .m.rule.suppress_edits
	case f.Type == "m.room.message":
		return true, false
	}
	return false, false
}

// mayNotify reports whether the sender of an event may notify the room.
func (t *truth) mayNotify(i int) bool {
	state := t.state(i)
	create := t.facts[t.at[state[stateKey("m.room.create", "")]]]
	var levels struct {
		Users         map[string]int
		Default       int            `json:"users_default"`
		Notifications map[string]int `json:"notifications"`
	}
	_ = json.Unmarshal(t.facts[t.at[state[stateKey("m.room.power_levels", "")]]].Content, &levels)
	need, ok := levels.Notifications["room"]
	if !ok {
		need = 50
	}
	have, ok := levels.Users[t.facts[i].Sender]
	if !ok {
		have = levels.Default
	}
	return have >= need || content(create.event, "room_version") == "12" && create.Sender == t.facts[i].Sender
}

// checkCounts compares the counts that a device was told with a recount.
func (t *truth) checkCounts(d *device, got unread, receipts map[receiptID]string) error {
	want := unread{Threads: map[string]counts{}}
	for thread, c := range t.recount(d.user, receipts) {
		if d.threads && thread != "main" {
			want.Threads[thread] = c
			continue
		}
		want.All.Notification += c.Notification
		want.All.Highlight += c.Highlight
	}
	if len(want.Threads) < keptThreads && !got.equal(want) {
		return fmt.Errorf("the counts are %+v, and should be %+v: %s", got, want, t.explain(d.user, receipts))
	}
	return nil
}

// explain says what the counts of a user come from.
func (t *truth) explain(user string, receipts map[receiptID]string) (text string) {
	for id, at := range receipts {
		if id.user == user {
			text += fmt.Sprintf("\n%s of thread %q is at %d", id.typ, id.thread, t.at[at])
		}
	}
	for i, f := range t.facts {
		if notify, highlight := t.notifies(user, i); notify || f.Sender == user {
			text += fmt.Sprintf("\n%d notify %t highlight %t thread %s redacted %t: %s", i, notify, highlight, t.thread(i), f.redactedBy != "", f.event)
		}
	}
	return text
}
