package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

func content(e event, key string) string {
	var c map[string]any
	_ = json.Unmarshal(e.Content, &c)
	s, _ := c[key].(string)
	return s
}

func ids(events []event) (list []string) {
	for _, e := range events {
		list = append(list, e.ID)
	}
	return list
}

// check compares what the devices know with what the server has. Nothing happens
// any more.
func (w *world) check(devices []*device) {
	w.t.Helper()
	fail := func(err error) {
		if err != nil {
			w.t.Error(err)
		}
	}
	var truths []*truth
	for _, id := range w.known.all() {
		truths = append(truths, w.truthOf(id))
	}
	w.checkMarks(truths)
	for _, d := range devices {
		again := d.fresh()
		again.leaves = true
		if err := errors.Join(d.catchUp(), d.fillAll(), again.catchUp()); err != nil {
			w.t.Error(err)
			return
		}
		for _, t := range truths {
			fail(w.checkRoom(d, again, t))
		}
		for _, typ := range sorted(again.account) {
			if got, want := d.account[typ], again.account[typ]; got != want {
				w.t.Errorf("%s: the account data %s is %s, and to a new client %s", d, typ, got, want)
			}
		}
		if w.t.Failed() {
			return
		}
	}
	for i := 0; i < len(devices); i += 2 {
		for _, t := range truths {
			fail(devices[i].checkPages(t))
		}
	}
	w.checkReceipts(truths, devices)
}

// catchUp syncs until there is nothing new.
func (d *device) catchUp() error {
	for range 10 {
		news, err := d.sync(0, false)
		if err != nil || !news {
			return err
		}
	}
	return fmt.Errorf("%s is told news again and again", d)
}

// checkMarks checks that what was sent is there once, or not if it was refused.
func (w *world) checkMarks(truths []*truth) {
	w.t.Helper()
	made := map[string]string{}
	for _, t := range truths {
		for _, f := range t.facts {
			if f.txn == "" {
				continue
			}
			if made[f.txn] != "" {
				w.t.Errorf("the transaction %s made %s and %s", f.txn, made[f.txn], f.ID)
			}
			made[f.txn] = f.ID
		}
	}
	if !maps.Equal(made, w.said()) {
		for mark, id := range w.said() {
			if made[mark] != id {
				w.t.Errorf("the transaction %s was answered with %q and made %q", mark, id, made[mark])
			}
		}
		for mark, id := range made {
			if w.said()[mark] == "" {
				w.t.Errorf("the transaction %s was refused and made %s", mark, id)
			}
		}
	}
}

// said are the events that clients were told to have sent, by transaction.
func (w *world) said() map[string]string {
	w.known.mu.Lock()
	defer w.known.mu.Unlock()
	said := maps.Clone(w.known.said)
	maps.DeleteFunc(said, func(_, id string) bool { return id == "" })
	return said
}

// checkRoom compares a room as a device knows it with the truth, and with what a
// client that begins now is told.
func (w *world) checkRoom(d, again *device, t *truth) error {
	m, n := d.rooms[t.room], again.rooms[t.room]
	now := t.now(d.user)
	if m == nil {
		m = d.room(t.room)
	}
	where := fmt.Sprintf("%s in %s (%s)", d, t.room, t.history(d.user))
	switch now {
	case "join", "invite", "knock":
		if m.membership != now {
			return fmt.Errorf("%s: the membership is %q and the client has %q", where, now, m.membership)
		}
		if n == nil || n.membership != now {
			return fmt.Errorf("%s: the membership is %q and a new client is told of %v", where, now, n)
		}
	default:
		if m.membership != "" && m.membership != "leave" {
			return fmt.Errorf("%s: the membership is %q and the client has %q", where, now, m.membership)
		}
		if n != nil && n.membership != "leave" {
			return fmt.Errorf("%s: the membership is %q and a new client has %q", where, now, n.membership)
		}
	}
	if m.overlaps && !w.month && len(t.moves[d.user]) == 1 {
		return fmt.Errorf("%s: the client was told again what it knew", where)
	}
	until, was := t.until(d.user)
	if !was || m.vague || m.membership != "join" && m.membership != "leave" || w.forgot(d.user, t.room) && now != "join" {
		return nil
	}
	visible, _ := t.visible(d.user)
	if len(m.pieces) > 0 {
		known := ids(m.pieces[0].events)
		if m.membership == "leave" {
			// What became of the own membership after the departure is told too.
			known = slices.DeleteFunc(known, func(id string) bool {
				i := t.at[id]
				return i >= until && t.facts[i].StateKey != nil && *t.facts[i].StateKey == d.user
			})
		}
		if want := visible[max(0, len(visible)-len(known)):]; !slices.Equal(known, want) {
			return fmt.Errorf("%s: the timeline has %s", where, t.show(known, want))
		}
		if err := d.fill(m, 0); err != nil {
			return err
		}
		known = known[:0]
		for _, e := range m.pieces[0].events {
			if i := t.at[e.ID]; i < until {
				known = append(known, e.ID)
			}
		}
		if !slices.Equal(known, visible) {
			return fmt.Errorf("%s: the timeline and what is before it has %s", where, t.show(known, visible))
		}
		if err := t.checkRedactions(m.pieces[0].events); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	} else if now == "join" {
		return fmt.Errorf("%s: no timeline", where)
	}
	// A client whose token is older than the log is told of a room that it has left
	// just that, and nothing of members that it loaded lazily.
	if !w.month || m.membership == "join" && !d.lazy {
		if err := checkState(d, m, t, until); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	if now != "join" {
		return nil
	}
	if err := checkState(again, n, t, until); err != nil {
		return fmt.Errorf("%s anew: %w", where, err)
	}
	if !maps.Equal(m.data, n.data) {
		return fmt.Errorf("%s: the account data is %v, and to a new client %v", where, m.data, n.data)
	}
	if m.typing != "" && m.typing != "[]" {
		return fmt.Errorf("%s: %s type for ever", where, m.typing)
	}
	if !m.counts.equal(n.counts) {
		return fmt.Errorf("%s: the counts are %+v, and to a new client %+v", where, m.counts, n.counts)
	}
	if err := t.checkCounts(d, m.counts, n.receipts); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if w.outage {
		return nil // who was away for a day was not told of receipts that were told late
	}
	for _, receipts := range []map[receiptID]string{m.receipts, n.receipts} {
		maps.DeleteFunc(receipts, func(id receiptID, _ string) bool { return w.receipts.unsure[id] })
	}
	if !maps.Equal(m.receipts, n.receipts) {
		return fmt.Errorf("%s: the receipts differ from those that a new client is told: %s", where, differ(m.receipts, n.receipts))
	}
	return nil
}

func differ[K comparable, V comparable](got, want map[K]V) string {
	var all []string
	for k, v := range got {
		if want[k] != v {
			all = append(all, fmt.Sprintf("%v is %v and should be %v", k, v, want[k]))
		}
	}
	for k, v := range want {
		if _, ok := got[k]; !ok {
			all = append(all, fmt.Sprintf("%v is not there and should be %v", k, v))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// checkRedactions checks that a client which does what it is told has redacted
// what is redacted, and nothing else.
func (t *truth) checkRedactions(known []event) error {
	redacted := map[string]bool{}
	for _, e := range known {
		if e.Type == "m.room.redaction" && e.Redacts == "" {
			var c struct{ Redacts string }
			_ = json.Unmarshal(e.Content, &c)
			e.Redacts = c.Redacts
		}
		if e.Type == "m.room.redaction" {
			redacted[e.Redacts] = true
		}
	}
	for _, e := range known {
		f := t.facts[t.at[e.ID]]
		redaction, sees := t.at[f.redactedBy]
		// A redaction that is itself redacted does not say any more what it redacts.
		sees = sees && t.facts[redaction].redactedBy == "" && slices.ContainsFunc(known, func(e event) bool { return e.ID == t.facts[redaction].ID })
		because := e.Unsigned.RedactedBecause != nil
		switch {
		case f.redactedBy == "" && (because || content(e, "mark") != content(f.event, "mark")):
			return fmt.Errorf("%s is not redacted, and told as redacted", e)
		case because && content(e, "mark") != "":
			return fmt.Errorf("%s is redacted and has its content", e)
		case sees && !because && !redacted[e.ID]:
			return fmt.Errorf("%s is redacted by %s, and nobody told", e, f.redactedBy)
		}
	}
	return nil
}

// checkState compares the state that a device has of a room with that after the
// first n events.
func checkState(d *device, m *room, t *truth, n int) error {
	want := t.state(n)
	got := map[string]string{}
	for key, e := range m.state {
		got[key] = e.ID
	}
	own := stateKey("m.room.member", d.user)
	if m.membership != "join" {
		// It may have been told of a ban after the departure.
		delete(want, own)
		delete(got, own)
	}
	if d.lazy {
		// It need not know all members, but those that it knows are as they are.
		maps.DeleteFunc(want, func(key, _ string) bool {
			return strings.HasPrefix(key, "m.room.member|") && key != own && got[key] == ""
		})
	}
	if m.membership == "leave" && (m.stale || len(m.state) <= 1) {
		return nil
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("the state is not that of the room: %s", t.place(differ(got, want)))
	}
	return nil
}

// forgot reports whether the user ever forgot the room.
func (w *world) forgot(user, room string) bool {
	w.known.mu.Lock()
	defer w.known.mu.Unlock()
	return w.known.forgotten[user+room]
}

// checkPages checks what the server answers to the user of a device about a room.
func (d *device) checkPages(t *truth) error {
	now := t.now(d.user)
	if now != "join" && d.w.forgot(d.user, t.room) {
		return nil
	}
	where := fmt.Sprintf("%s in %s (%s)", d.name, t.room, t.history(d.user))
	want, may := t.visible(d.user)
	for _, dir := range []string{"b", "f"} {
		got, err := d.page(t.room, dir, "", "", nil)
		if err == errForbidden && !may {
			return nil
		}
		if err != nil || !may {
			return fmt.Errorf("%s: /messages: may %t, %w", where, may, err)
		}
		if dir == "b" {
			slices.Reverse(got)
		}
		if !slices.Equal(ids(got), want) {
			return fmt.Errorf("%s: /messages in direction %s has %s", where, dir, t.show(ids(got), want))
		}
		if err := t.checkRedactions(got); err != nil {
			return fmt.Errorf("%s: /messages in direction %s: %w", where, dir, err)
		}
	}
	until, was := t.until(d.user)
	if !was {
		return nil
	}
	var state []event
	if err := d.get(in(t.room, "state"), &state); err != nil {
		return err
	}
	got := map[string]string{}
	for _, e := range state {
		got[stateKey(e.Type, *e.StateKey)] = e.ID
	}
	if want := t.state(until); !maps.Equal(got, want) {
		return fmt.Errorf("%s: /state: %s", where, differ(got, want))
	}
	var members struct{ Chunk []event }
	if err := d.get(in(t.room, "members"), &members); err != nil {
		return err
	}
	got, all := map[string]string{}, map[string]string{}
	for _, e := range members.Chunk {
		got[*e.StateKey] = membershipOf(e)
	}
	for user := range t.moves {
		if m := t.membership(user, until); m != "" {
			all[user] = m
		}
	}
	if !maps.Equal(got, all) {
		return fmt.Errorf("%s: /members: %s", where, differ(got, all))
	}
	if now != "join" {
		return nil
	}
	var joined struct{ Joined map[string]any }
	if err := d.get(in(t.room, "joined_members"), &joined); err != nil {
		return err
	}
	maps.DeleteFunc(all, func(_, m string) bool { return m != "join" })
	if !slices.Equal(sorted(joined.Joined), sorted(all)) {
		return fmt.Errorf("%s: /joined_members is %v, and should be %v", where, sorted(joined.Joined), sorted(all))
	}
	return nil
}

// checkReceipts checks that each receipt is at the newest event for which it was
// set.
func (w *world) checkReceipts(truths []*truth, devices []*device) {
	w.t.Helper()
	of := map[string]*device{}
	for _, d := range devices {
		of[d.user] = d
	}
	for _, t := range truths {
		for id, set := range w.receipts.all {
			if id.room != t.room || t.now(id.user) != "join" || w.receipts.unsure[id] {
				continue
			}
			newest := slices.MaxFunc(set, func(a, b string) int { return t.at[a] - t.at[b] })
			m := of[id.user].room(t.room)
			at := m.receipts[id]
			if id.typ == "m.fully_read" {
				at = content(event{Content: json.RawMessage(m.data["m.fully_read"])}, "event_id")
			}
			if i, ok := t.at[at]; !ok || i < t.at[newest] {
				w.t.Errorf("the receipt %v was set to %s and is at %q", id, newest, at)
			}
		}
	}
}
