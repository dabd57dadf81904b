package faults

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/clock"
	domain "github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
	"github.com/virga-im/virga/shared/userlog"
)

// rows reads a whole partition.
func (w *world) rows(t *store.Table, part string) []store.Item {
	w.t.Helper()
	var all []store.Item
	for it, err := range store.All(w.ctx, w.proc.Store.DB(), store.Query{Table: t, Part: part, Consistency: store.Consistent}) {
		w.ok(err)
		all = append(all, it)
	}
	return all
}

// partitions lists those of a table with the prefix that were ever written,
// without the prefix.
func (w *world) partitions(t *store.Table, prefix string) (parts []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range w.parts {
		if rest, ok := has(p.Key.Part, prefix); ok && p.Table == t {
			parts = append(parts, rest)
		}
	}
	slices.Sort(parts)
	return parts
}

// occurred is an event of a room with its row.
type occurred struct {
	*timeline.EventRow
	*pdu.Event
	// changed says that it changed the membership of its state key.
	changed bool
}

// seen is what the checker knows of a room that exists.
type seen struct {
	room    string
	head    *timeline.Head
	events  []occurred
	members map[string]string     // membership by user
	own     map[string][]occurred // membership events by user
	moves   map[string][]userlog.Transition
}

// check checks what must be true at any time at which the workers have nothing
// to do. It is the one description of a world that is in order.
func (w *world) check() map[string]*seen {
	w.t.Helper()
	rooms := map[string]*seen{}
	for _, room := range w.partitions(store.Rooms, "R#") {
		if strings.Contains(room, "#CH") {
			continue
		}
		if r := w.checkRoom(room); r != nil {
			rooms[room] = r
		}
	}
	w.checkIndex(rooms)
	w.checkAliases(rooms)
	w.checkTxns(rooms)
	w.checkRoomIndex(rooms)
	for _, user := range w.partitions(store.Users, "U#") {
		w.checkUser(user, rooms)
	}
	w.checkFanOut(rooms)
	return rooms
}

// checkSwept is check once the abandoned creations are ended, and everybody has
// read what is new.
func (w *world) checkSwept() {
	w.t.Helper()
	rooms := w.check()
	for _, it := range w.rows(store.Server, "CREATING") {
		w.t.Errorf("the creation of %s is not over", it.Key.Sort)
	}
	for _, room := range w.partitions(store.Rooms, "R#") {
		name, _, chunks := strings.Cut(room, "#CH")
		// Chunks that were written before the first transaction are left, and
		// refer to nothing: their room has neither a HEAD nor a mark.
		if rows := w.rows(store.Rooms, "R#"+room); rooms[name] == nil && !chunks && len(rows) > 0 {
			w.t.Errorf("%d rows are left of the room %s that was never opened, first %s", len(rows), room, rows[0].Key)
		}
	}
	for _, c := range w.clients {
		if c.since != "" {
			w.checkSeen(c, rooms)
		}
	}
}

func (w *world) checkRoom(room string) *seen {
	w.t.Helper()
	fail := func(format string, args ...any) {
		w.t.Helper()
		w.t.Errorf("room %s: %s", room, fmt.Sprintf(format, args...))
	}
	items := w.rows(store.Rooms, "R#"+room)
	r := &seen{room: room, members: map[string]string{}, own: map[string][]occurred{}, moves: map[string][]userlog.Transition{}}
	state := map[trie.Key]string{}  // as the events make it
	pieces := map[trie.Key]string{} // as the rows say
	redactions, redacted := map[string]store.Item{}, map[string][]string{}
	names := map[string]string{}
	servers, counted := map[string]int64{}, map[string]int64{}
	byID := map[string]occurred{}
	for _, it := range items {
		switch kind, rest, _ := strings.Cut(it.Key.Sort, "#"); kind {
		case timeline.HeadSort:
			h, err := timeline.HeadOf(it)
			w.ok(err)
			r.head = h
		case "E":
			row, err := timeline.DecodeEvent(it)
			w.ok(err)
			e, err := row.Event()
			w.ok(err)
			if want := userlog.FirstPos + timeline.Pos(len(r.events)); row.Pos != want {
				fail("position %s follows %s", row.Pos, want-1)
			}
			if e.ID != row.ID || byID[row.ID].EventRow != nil {
				fail("the event %s at %s is %s, or twice", row.ID, row.Pos, e.ID)
			}
			if n := len(r.events); n > 0 && (len(e.PrevEvents) != 1 || e.PrevEvents[0] != r.events[n-1].EventRow.ID) {
				fail("the event at %s follows %v", row.Pos, e.PrevEvents)
			}
			o := occurred{EventRow: row, Event: e}
			before := ""
			if n := len(r.events); n > 0 {
				before = string(r.events[n-1].Root)
			}
			if e.IsState() == (string(row.Root) == before) {
				fail("the state after %s is wrong: state event %v, root %x after %x", row.Pos, e.IsState(), row.Root, before)
			}
			if e.IsState() {
				key := trie.Key{Type: e.Type, StateKey: *e.StateKey}
				if row.Prev != state[key] {
					fail("the state before %s was %q, and its row says %q", row.Pos, state[key], row.Prev)
				}
				if e.Type == "m.room.member" {
					user, m := *e.StateKey, membership(e)
					if o.changed = r.members[user] != m; o.changed {
						r.moves[user] = append(r.moves[user], userlog.Transition{Pos: row.Pos, Membership: m, EventID: row.ID, Sender: e.Sender})
					}
					r.members[user] = m
					r.own[user] = append(r.own[user], o)
				}
				state[key] = row.ID
			}
			if e.Type == "m.room.redaction" {
				redacted[e.Redacts] = append(redacted[e.Redacts], row.ID)
			}
			r.events = append(r.events, o)
			byID[row.ID] = o
		case "S":
			typ, key, _ := strings.Cut(rest, "#")
			pieces[trie.Key{Type: typ, StateKey: key}] = it.Str("id")
		case "M":
			parts := strings.SplitN(rest, "#", 3)
			where, m, user := parts[0], parts[1], parts[2]
			key := trie.Key{Type: "m.room.member", StateKey: user}
			if old := pieces[key]; old != "" {
				fail("%s has two member rows", user)
			}
			pieces[key], names[it.Str("id")] = it.Str("id"), it.Str("dn")
			if local := id.Server(user) == "test"; local != (where == timeline.Local) {
				fail("%s is %s", user, where)
			}
			if o := byID[it.Str("id")]; o.Event == nil || membership(o.Event) != m || o.Pos != timeline.Pos(it.Int("pos")) {
				fail("the member row of %s says %s by %s at %d", user, m, it.Str("id"), it.Int("pos"))
			}
			if m == "join" {
				servers[id.Server(user)]++
			}
		case "SRV":
			if n := it.Int("n"); n != 0 {
				counted[rest] = n
			}
		case "RD":
			redactions[rest] = it
		case "AL": // see checkAliases
		case "UPGRADE":
		default:
			fail("a row of no known kind: %s", it.Key)
		}
	}
	if r.head == nil {
		if len(items) > 0 {
			fail("there are %d rows and no HEAD", len(items))
		}
		return nil
	}
	n := len(r.events)
	if n == 0 || r.head.Pos != r.events[n-1].Pos {
		fail("HEAD is at %s, after %d events", r.head.Pos, n)
		return nil
	}
	last := r.events[n-1]
	if string(r.head.Root) != string(last.Root) || !r.head.RowsCurrent() {
		fail("HEAD has root %x and rows %x, the last event %x", r.head.Root, r.head.RowsRoot, last.Root)
	}
	if x := r.head.Extremities; len(x) != 1 || x[0].ID != last.EventRow.ID || x[0].Depth != last.Depth {
		fail("the extremities are %v, the last event %s", x, last.EventRow.ID)
	}
	walked := map[trie.Key]string{}
	tl := timeline.New(timeline.Options{DB: w.proc.Store.DB(), Clock: clock.System{}, ServerName: "test"})
	w.ok(trie.Walk(w.ctx, tl.Loader(room), room, r.head.CurrentRoot(), trie.WalkAll, func(e trie.Entry) bool {
		walked[e.Key] = e.EventID
		return true
	}))
	if !maps.Equal(walked, state) {
		fail("the trie holds %v, the events make %v", walked, state)
	}
	if !maps.Equal(pieces, state) {
		fail("the rows hold %v, the events make %v", pieces, state)
	}
	if !maps.Equal(servers, counted) {
		fail("servers are counted as %v, and are %v", counted, servers)
	}
	for target, all := range redacted {
		for _, by := range all {
			if it := redactions[target+"#"+by]; timeline.Pos(it.Int("pos")) != byID[by].Pos {
				fail("%s is redacted by %s, and its mark says %d", target, by, it.Int("pos"))
			}
			delete(redactions, target+"#"+by)
		}
		if o, ok := byID[target]; ok && o.Redacted != all[0] {
			fail("%s is redacted by %v, and its row says %q", target, all, o.Redacted)
		}
	}
	for mark := range redactions {
		fail("%s is marked as redacted by nothing", mark)
	}
	for eventID, name := range names {
		if o := byID[eventID]; o.Event != nil && o.Redacted == "" && displayName(o.Event) != name {
			fail("the member row of %s shows %q", eventID, name)
		}
	}
	if r.head.Creating {
		w.checkInvisible(r)
		return nil
	}
	return r
}

func membership(e *pdu.Event) string {
	var c struct{ Membership string }
	_ = json.Unmarshal(e.Content, &c)
	return c.Membership
}

func displayName(e *pdu.Event) string {
	var c struct{ Displayname string }
	_ = json.Unmarshal(e.Content, &c)
	return c.Displayname
}

// checkInvisible checks that nobody sees a room that is being created, and that
// the sweeper will find it.
func (w *world) checkInvisible(r *seen) {
	w.t.Helper()
	marked := slices.ContainsFunc(w.rows(store.Server, "CREATING"), func(it store.Item) bool { return it.Key.Sort == r.room })
	if !marked {
		w.t.Errorf("room %s is being created without a mark", r.room)
	}
	for _, c := range w.clients {
		if c.token == "" {
			continue
		}
		for _, rest := range []string{"state", "messages?dir=b", "joined_members", "event/" + r.events[0].EventRow.ID} {
			if a := c.do("GET", roomPath(r.room, rest), nil); a.status == 200 || a.status == 0 {
				w.t.Errorf("%s sees the %s of %s, which is being created", c.name, rest, r.room)
			}
		}
		if a := c.do("POST", roomPath(r.room, "join"), map[string]any{}); a.status == 200 || a.status == 0 {
			w.t.Errorf("%s joined %s, which is being created: %v", c.name, r.room, a)
		}
		if a := c.do("GET", "/_matrix/client/v3/joined_rooms", nil); strings.Contains(fmt.Sprint(a.body), r.room) {
			w.t.Errorf("%s is in %s, which is being created", c.name, r.room)
		}
	}
}

// checkIndex checks that each event has one row of the index, and the index no
// other.
func (w *world) checkIndex(rooms map[string]*seen) {
	w.t.Helper()
	at := map[string]string{}
	for _, r := range rooms {
		for _, o := range r.events {
			if was := at[o.EventRow.ID]; was != "" {
				w.t.Errorf("event %s is in %s and in %s", o.EventRow.ID, was, r.room)
			}
			at[o.EventRow.ID] = fmt.Sprint(r.room, o.Pos)
		}
	}
	for _, eventID := range w.partitions(store.Events, "EV#") {
		for _, it := range w.rows(store.Events, "EV#"+eventID) {
			var row timeline.IndexRow
			w.ok(store.Decode(it, &row))
			if rooms[row.Room] == nil {
				if head, err := w.proc.Store.DB().Get(w.ctx, store.Ref{Table: store.Rooms, Key: timeline.HeadKey(row.Room)}, store.Consistent); err != nil || !head.Bool("cr") {
					w.t.Errorf("event %s is indexed in the room %s, which is not there", eventID, row.Room)
				}
				continue
			}
			if place := fmt.Sprint(row.Room, row.Pos); at[eventID] != place {
				w.t.Errorf("event %s is at %q and indexed at %q", eventID, at[eventID], place)
			}
			if _, err := auth.Decode(row.View); err != nil {
				w.t.Errorf("event %s: %v", eventID, err)
			}
			delete(at, eventID)
		}
	}
	for eventID := range at {
		w.t.Errorf("event %s is not indexed", eventID)
	}
}

// checkRoomIndex checks that sweeps find every room, and no other.
func (w *world) checkRoomIndex(rooms map[string]*seen) {
	w.t.Helper()
	listed := map[string]bool{}
	for _, shard := range w.partitions(store.Server, "ROOMS#") {
		for _, it := range w.rows(store.Server, "ROOMS#"+shard) {
			if listed[it.Key.Sort] = true; rooms[it.Key.Sort] == nil {
				w.t.Errorf("the room %s is listed and not there", it.Key.Sort)
			}
		}
	}
	for room := range rooms {
		if !listed[room] {
			w.t.Errorf("the room %s is not listed", room)
		}
	}
}

// checkAliases checks that each alias has both of its rows or none, and that
// what is published exists.
func (w *world) checkAliases(rooms map[string]*seen) {
	w.t.Helper()
	one, other := map[string]string{}, map[string]string{}
	for _, alias := range w.partitions(store.Rooms, "ALIAS#") {
		for _, it := range w.rows(store.Rooms, "ALIAS#"+alias) {
			one[alias] = it.Str("room")
		}
	}
	for _, room := range w.partitions(store.Rooms, "R#") {
		for _, it := range w.rows(store.Rooms, "R#"+room) {
			if alias, ok := has(it.Key.Sort, "AL#"); ok {
				other[alias] = room
			}
		}
	}
	if !maps.Equal(one, other) {
		w.t.Errorf("aliases are %v, and listed by room are %v", one, other)
	}
	for alias, room := range one {
		if rooms[room] == nil {
			w.t.Errorf("the alias %s names the room %s, which is not there", alias, room)
		}
	}
	for _, it := range w.rows(store.Server, "PUBLIC") {
		if rooms[it.Key.Sort] == nil {
			w.t.Errorf("the room %s is published and not there", it.Key.Sort)
		}
	}
	var shown, listed []string
	for _, it := range w.rows(store.Server, "PUBLIC") {
		if at := it.Str("at"); at != "" {
			shown = append(shown, at)
		}
	}
	for _, it := range w.rows(store.Server, "LISTED") {
		listed = append(listed, it.Key.Sort)
	}
	slices.Sort(shown)
	if !slices.Equal(shown, listed) {
		w.t.Errorf("the directory lists %v, and publications say %v", listed, shown)
	}
	for _, it := range w.rows(store.Server, "LISTEDCOUNT") {
		if it.Int("n") != int64(len(listed)) {
			w.t.Errorf("%d rooms are listed and %d counted", len(listed), it.Int("n"))
		}
	}
}

// checkTxns checks that a client transaction made one event and remembers it.
func (w *world) checkTxns(rooms map[string]*seen) {
	w.t.Helper()
	events, made := map[string]string{}, map[string]string{}
	for _, r := range rooms {
		for _, o := range r.events {
			if o.Txn == "" || w.clock.Now().Sub(time.UnixMilli(o.OriginServerTS)) > domain.TxnRetention {
				continue
			}
			key := strings.Join([]string{r.room, o.Sender, o.Device, o.Type, o.Redacts, o.Txn}, " ")
			if made[key] != "" {
				w.t.Errorf("the transaction %s made %s and %s", key, made[key], o.EventRow.ID)
			}
			made[key] = o.EventRow.ID
			events[o.EventRow.ID] = fmt.Sprint(o.Pos)
		}
	}
	for _, part := range w.partitions(store.Users, "TXN#") {
		for _, it := range w.rows(store.Users, "TXN#"+part) {
			if at := events[it.Str("id")]; at != fmt.Sprint(timeline.Pos(it.Int("pos"))) {
				w.t.Errorf("a transaction of %s remembers %s at %d, which is at %q", part, it.Str("id"), it.Int("pos"), at)
			}
			delete(events, it.Str("id"))
		}
	}
	for eventID := range events {
		w.t.Errorf("the transaction of %s is not remembered", eventID)
	}
}

// checkUser checks an account, its log and its cursors.
func (w *world) checkUser(user string, rooms map[string]*seen) {
	w.t.Helper()
	fail := func(format string, args ...any) {
		w.t.Helper()
		w.t.Errorf("%s: %s", user, fmt.Sprintf(format, args...))
	}
	kinds := map[string]int{}
	cursors := map[string]userlog.Cursor{}
	told := map[string]userlog.Entry{}
	var first, last, hint int64
	dormant, waking, pulled := true, false, []string{}
	rows := w.rows(store.Users, userlog.Part(user))
	if len(rows) == 0 {
		return // the write that would have made the user was killed
	}
	for _, it := range rows {
		kind, rest, _ := strings.Cut(it.Key.Sort, "#")
		kinds[kind]++
		switch kind {
		case "ROOM":
			c, err := userlog.DecodeCursor(it)
			w.ok(err)
			cursors[rest] = c
		case "LOG":
			hint = it.Int("n")
			dormant, waking = it.Int("a") <= clock.Millis(w.clock.Now()), it.Bool("w")
			if list := it.Str("pl"); list != "" {
				w.ok(json.Unmarshal([]byte(list), &pulled))
			}
		case "L":
			var e userlog.Entry
			w.ok(store.Decode(it, &e))
			_, err := fmt.Sscanf(rest, "%x", &e.N)
			w.ok(err)
			if last > 0 && e.N != last+1 {
				fail("the entry %d follows %d", e.N, last)
			}
			if last == 0 {
				first = e.N
			}
			last = e.N
			if e.Kind != userlog.KindRoom {
				break
			}
			if was, ok := told[e.Room]; ok && was.To != e.From || !ok && e.From != 0 && first == 1 || e.From >= e.To {
				fail("entry %d tells (%s, %s] of %s after (%s, %s]", e.N, e.From, e.To, e.Room, was.From, was.To)
			}
			told[e.Room] = e
		}
	}
	if kinds["ACCOUNT"] != kinds["PROFILE"] || kinds["ACCOUNT"] == 0 {
		fail("half an account: %v", kinds)
	}
	if kinds["L"] > 0 && (kinds["LOG"] != 1 || last < hint || last > hint+64) {
		fail("the last entry is %d, the hint %d", last, hint)
	}
	for room, r := range rooms {
		c, ok := cursors[room]
		if m := r.members[user]; m != c.Membership {
			fail("is %q in %s, and the cursor says %q", m, room, c.Membership)
		}
		moves := r.moves[user]
		if n := len(moves); n > 16 {
			moves = moves[n-16:]
		}
		if ok && !slices.Equal(moves, c.Transitions) {
			fail("the cursor of %s has the transitions %v, and they are %v", room, c.Transitions, moves)
		}
		delete(cursors, room)
		if len(moves) == 0 {
			if ok {
				fail("has a cursor for %s without ever being there", room)
			}
			continue
		}
		if f := w.fan(room); f.State == timeline.StatePulled && c.Membership == "join" && moves[len(moves)-1].Pos <= f.Done && !slices.Contains(pulled, room) {
			fail("is told of %s by nobody, and does not look at it: looks at %v", room, pulled)
		}
		if dormant || waking || slices.Contains(pulled, room) {
			continue // is told when a device looks, see checkSwept
		}
		e, ok := told[room]
		if !ok && first != 1 {
			continue // what there was has expired
		}
		if e.N != c.N || e.From != c.From || e.To != c.To {
			fail("the cursor of %s is at (%s, %s] in %d, the last entry (%s, %s] in %d", room, c.From, c.To, c.N, e.From, e.To, e.N)
		}
		own := r.own[user]
		switch low, high := moves[len(moves)-1].Pos, own[len(own)-1].Pos; {
		case c.Membership == "join" && c.To != r.head.Pos:
			fail("was told of %s up to %s of %s", room, c.To, r.head.Pos)
		case c.Membership != "join" && (c.To < low || c.To > high):
			fail("was told of %s up to %s, and is gone since %s", room, c.To, high)
		}
	}
	for room := range cursors {
		fail("has a cursor for %s, which is not there", room)
	}
}

// checkFanOut checks that the dispatcher is done with all rooms.
func (w *world) checkFanOut(rooms map[string]*seen) {
	w.t.Helper()
	for room, r := range rooms {
		if f := w.fan(room); f.Done != r.head.Pos || f.State == timeline.StateGoing {
			w.t.Errorf("room %s: fan-out is at %+v of %s", room, f, r.head.Pos)
		}
	}
}

func (w *world) fan(room string) (f timeline.Fan) {
	w.t.Helper()
	for _, it := range w.rows(store.Server, "FAN#"+room) {
		var err error
		_, f, err = timeline.FanOf(it)
		w.ok(err)
	}
	return f
}

// checkChunks lets the sweep of chunks come, and checks that the rooms have all
// that their states need, and no other chunks.
func (w *world) checkChunks() {
	w.t.Helper()
	w.clock.pass(9 * 24 * time.Hour)
	w.ok(w.proc.RunTimers(w.ctx))
	tl := timeline.New(timeline.Options{DB: w.proc.Store.DB(), Clock: clock.System{}, ServerName: "test"})
	for room, r := range w.check() {
		needed := map[string]bool{}
		for _, o := range r.events {
			w.ok(trie.Walk(w.ctx, tl.Loader(room), room, o.CurrentRoot(), trie.WalkAll, func(trie.Entry) bool { return true }))
			w.ok(trie.Reachable(w.ctx, tl.Loader(room), o.CurrentRoot(), func(h trie.Hash) bool { needed[h.String()] = true; return true }))
		}
		for _, part := range timeline.ChunkParts(room) {
			for _, it := range w.rows(store.Rooms, part) {
				if !needed[it.Key.Sort] {
					w.t.Errorf("room %s: nobody needs the chunk %s", room, it.Key.Sort)
				}
			}
		}
	}
}

// checkSeen checks that a client that watched saw each event that there was to
// see, once, in order.
func (w *world) checkSeen(c *client, rooms map[string]*seen) {
	w.t.Helper()
	for room, saw := range c.saw {
		r := rooms[room]
		if r == nil {
			w.t.Errorf("%s saw the room %s, which is not there", c.name, room)
			continue
		}
		if len(saw) == 0 {
			continue
		}
		moves := r.moves[c.user]
		begin := slices.IndexFunc(r.events, func(o occurred) bool { return o.EventRow.ID == saw[0] })
		end := len(r.events)
		if m := moves[len(moves)-1]; m.Membership != "join" {
			end = slices.IndexFunc(r.events, func(o occurred) bool { return o.Pos == m.Pos }) + 1
		}
		if begin < 0 {
			w.t.Errorf("%s saw %s in %s, which is not there", c.name, saw[0], room)
			continue
		}
		var want []string
		for _, o := range r.events[begin:end] {
			want = append(want, o.EventRow.ID)
		}
		if !slices.Equal(saw, want) {
			w.t.Errorf("%s saw in %s\n%v, there was\n%v", c.name, room, saw, want)
		}
	}
	for room, r := range rooms {
		moves := r.moves[c.user]
		if len(moves) > 0 && moves[len(moves)-1].Membership == "join" && len(c.saw[room]) == 0 {
			w.t.Errorf("%s is in %s and saw nothing of it", c.name, room)
		}
	}
}
