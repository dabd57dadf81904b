// Package timeline reads rooms: the order of their events, their state at any
// point, and what of it a user sees — /sync, /messages, /state and their like.
// It defines the rows of rooms; shared/rooms writes them.
package timeline

import (
	"fmt"
	"strings"

	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline/trie"
	"github.com/virga-im/virga/shared/userlog"
)

// Pos is a position in a room's order.
type Pos = userlog.Pos

// The rows of a room, under the partition R#room of the rooms table.
//
//	HEAD                           Head      where the room stands
//	E#pos                          EventRow  one position: an event or a state change
//	S#type#key                     StateRow  current state but members
//	M#local|remote#membership#user StateRow  current members
//	SRV#server                     {n}       joined members of a server
//	RD#event#redaction             {pos}     the event is to be redacted by another
//	X#event                        Extremity a forward extremity that HEAD has no room for
//	GAP#segment                    GapRow    what is missing before a segment
//	OUT#event                      {}        an event that is known and has no position
//	AL#alias                       a local alias of the room
//	RL#, RW#, TH#, TL#             relationships: see relations_rows.go
//
// and R#room#CH<2 bits> / hash: a chunk of its state trie.
//
// All but chunks and OUT# are written in the transaction that moves HEAD, so none
// can be lost or lag alone; chunks are written before whatever refers to them, and
// are immutable. Writers condition on HEAD's version. S#, M# and SRV# rows may lag
// as a whole, while a change of state is worked in that no transaction can hold:
// see Head.RowsRoot. An OUT# row only lists what the events table holds, for those
// who purge or sweep the room; it is written before the event's row. Nothing of
// it is ever rolled back except by a restore of all tables to one time.
const (
	HeadSort   = "HEAD"
	eventPre   = "E#"
	statePre   = "S#"
	memberPre  = "M#"
	redactPre  = "RD#"
	serverPre  = "SRV#"
	spillPre   = "X#"
	gapPre     = "GAP#"
	outPre     = "OUT#"
	Local      = "local"
	Remote     = "remote"
	eventTable = "EV#"
)

// RoomPart is the partition key of a room.
func RoomPart(room string) string { return "R#" + room }

// RoomOfPart is the room of a partition that RoomPart made.
func RoomOfPart(part string) string { return strings.TrimPrefix(part, "R#") }

// HeadKey is the key of a room's Head.
func HeadKey(room string) store.Key { return store.Key{Part: RoomPart(room), Sort: HeadSort} }

// EventKey is the key of a position.
func EventKey(room string, p Pos) store.Key {
	return store.Key{Part: RoomPart(room), Sort: eventPre + p.String()}
}

// StateKey is the key of a piece of current state other than a member.
func StateKey(room, typ, stateKey string) store.Key {
	return store.Key{Part: RoomPart(room), Sort: statePre + typ + "#" + stateKey}
}

// MemberKey is the key of a current member. where is Local or Remote.
func MemberKey(room, where, membership, user string) store.Key {
	return store.Key{Part: RoomPart(room), Sort: memberPre + where + "#" + membership + "#" + user}
}

// ServerKey is the key of the count of a server's joined members.
func ServerKey(room, server string) store.Key {
	return store.Key{Part: RoomPart(room), Sort: serverPre + server}
}

// RedactionKey is the key of the mark that an event is to be redacted by another.
// Who may redact it is known when both are; a mark alone redacts nothing.
func RedactionKey(room, target, redaction string) store.Key {
	return store.Key{Part: RoomPart(room), Sort: redactPre + target + "#" + redaction}
}

// ExtremityKey is the key of a forward extremity beyond those in HEAD.
func ExtremityKey(room, eventID string) store.Key {
	return store.Key{Part: RoomPart(room), Sort: spillPre + eventID}
}

// GapKey is the key of the gap before the segment that the position is in.
func GapKey(room string, p Pos) store.Key {
	return store.Key{Part: RoomPart(room), Sort: gapPre + segment(p).String()}
}

// UnplacedKey is the key of the mark that an event is known to the room without
// a position in it.
func UnplacedKey(room, eventID string) store.Key {
	return store.Key{Part: RoomPart(room), Sort: outPre + eventID}
}

// IndexKey is the key of an event in the events table.
func IndexKey(eventID string) store.Key { return store.Key{Part: eventTable + eventID, Sort: "EV"} }

// ChunkKey is the key of a chunk. Two bits of its hash spread a room's chunks
// over four partitions.
func ChunkKey(room string, h trie.Hash) store.Key {
	return store.Key{Part: fmt.Sprintf("R#%s#CH%d", room, h[0]>>6), Sort: h.String()}
}

// ChunkParts are the partitions of a room's chunks.
func ChunkParts(room string) []string {
	var parts []string
	for i := range 4 {
		parts = append(parts, fmt.Sprintf("R#%s#CH%d", room, i))
	}
	return parts
}

// Head is where a room stands: at most 1 KB. Every accepted event moves it, on
// the condition that Version is what the writer has read.
type Head struct {
	Version  int64  `db:"v"`
	StateVer int64  `db:"sv"` // changes whenever CurrentRoot does
	Pos      Pos    `db:"pos"`
	Root     []byte `db:"cur"` // the current state
	// RowsRoot is the state that S#, M# and SRV# rows show. It is behind Root after
	// a change of state that is too large for a transaction, until a worker has
	// moved the rows.
	RowsRoot []byte `db:"rows"`
	// RowsTo is set while the rows are being moved: they then show neither RowsRoot
	// nor RowsTo, but something between the two. RowsMove is the Version that
	// began the move.
	RowsTo      []byte `db:"to,omitempty"`
	RowsMove    int64  `db:"mv,omitempty"`
	RoomVersion string `db:"rv"`
	// Creating hides a room that is not complete.
	Creating bool `db:"cr,omitempty"`
	// Visibility is the history_visibility now in force, by its first letter.
	Visibility string `db:"hv"`
	// Extremities are the events that no accepted event follows, the newest last:
	// MaxExtremities at most, and Spilled more in X# rows.
	Extremities []Extremity `db:"ext"`
	Spilled     int64       `db:"xn,omitempty"`
	// Gapped says that there is a segment, or was, with events missing before it.
	Gapped bool `db:"gap,omitempty"`
	// Stripped is the position of the last redaction of a state event: since then the
	// room shows less of itself, with the same state.
	Stripped Pos `db:"rs,omitempty"`
}

// MaxExtremities is how many forward extremities HEAD has room for.
const MaxExtremities = 5

// Extremity is a forward extremity.
type Extremity struct {
	ID    string `json:"i" db:"-"`
	Depth int64  `json:"d" db:"d"`
	// Root is the state after the event.
	Root []byte `json:"r" db:"r"`
}

// After is the state after the event.
func (x Extremity) After() trie.Root { return root(x.Root) }

// GapRow says what is missing before a segment: at most some 2 KB. If it were
// lost, the events could not be backfilled; they would still be marked as a
// limited timeline.
type GapRow struct {
	// Missing are the events that the segment's events cite and that are not here.
	Missing []string `db:"m"`
	// Low is the lowest position of the segment so far; what is found takes the
	// one below it.
	Low Pos `db:"low"`
}

// HeadVersion is the attribute that writers condition on.
const HeadVersion = "v"

// CurrentRoot is the root of the current state.
func (h *Head) CurrentRoot() trie.Root { return root(h.Root) }

// RowsCurrent reports whether S# and M# rows show the current state.
func (h *Head) RowsCurrent() bool { return h.RowsTo == nil && string(h.Root) == string(h.RowsRoot) }

// Rows is the root of the state that S# and M# rows show, if they show one.
func (h *Head) Rows() (r trie.Root, ok bool) { return root(h.RowsRoot), h.RowsTo == nil }

// V is the room's version.
func (h *Head) V() *roomversion.Version { v, _ := roomversion.Get(h.RoomVersion); return v }

// RootOf reads a root as rows hold it; nil is the empty state.
func RootOf(b []byte) trie.Root { return root(b) }

func root(b []byte) trie.Root {
	var r trie.Root
	copy(r[:], b)
	return r
}

// EventRow is a position of the room: an accepted event, or with Kind KindState
// a change of state without one.
type EventRow struct {
	Pos  Pos    `db:"-"`
	Kind string `db:"k,omitempty"`
	ID   string `db:"id"`
	JSON []byte `db:"b"` // as received or built
	// RoomVersion is repeated here so that a reader of events needs no HEAD.
	RoomVersion string `db:"rv"`
	// Root is the room's current state after this position.
	Root []byte `db:"cur"`
	// Visibility is the history_visibility in force at the event, by its first
	// letter: w, s, i or j. For a change of history_visibility it is the more
	// permissive of before and after.
	Visibility string `db:"hv"`
	// Device and Txn are the sender's, for unsigned.transaction_id.
	Device string `db:"dev,omitempty"`
	Txn    string `db:"txn,omitempty"`
	// Redacted is the event that redacts this one, and RedactedAt its position.
	Redacted   string `db:"rd,omitempty"`
	RedactedAt Pos    `db:"rp,omitempty"`
	// Prev is the state event that this one replaced, for prev_content.
	Prev string `db:"pv,omitempty"`
	// Forked says that the current state after this position is not that before it
	// with the event: states were resolved, or the event lost before it came.
	Forked bool `db:"fk,omitempty"`
	// Edited, Referenced and Threaded say that the event has, or had, children that
	// are aggregated.
	Edited     bool `db:"re,omitempty"`
	Referenced bool `db:"rf,omitempty"`
	Threaded   bool `db:"th,omitempty"`

	event *pdu.Event // of JSON, once it was read
}

// KindState is a change of state without an event.
const KindState = "state"

// CurrentRoot is the room's current state after this position.
func (r *EventRow) CurrentRoot() trie.Root { return root(r.Root) }

// Status says what became of an event.
type Status int64

// The statuses.
const (
	Accepted Status = iota
	Outlier
	Rejected
	SoftFailed
)

// IndexRow says where an event is: at most 1 KB, for accepted events. Compare
// Room before trusting an id that came from a stranger.
type IndexRow struct {
	ID     string `db:"-"`
	Room   string `db:"r"`
	Pos    Pos    `db:"pos,omitempty"` // zero unless accepted
	Status Status `db:"st,omitempty"`
	// Before and After are the roots of the state before and after the event, and
	// nil for an outlier, of which they are not known.
	Before []byte `db:"rb,omitempty"`
	After  []byte `db:"ra,omitempty"`
	// View is the auth view.
	View []byte `db:"av"`
	// Seen is where the room stood when the event became known, if that was before
	// it took its position: an event that cites it became known later.
	Seen Pos `db:"seen,omitempty"`
	// JSON is the body of an event without a position, and RoomVersion how to read
	// it.
	JSON        []byte `db:"b,omitempty"`
	RoomVersion string `db:"rv,omitempty"`
	// Redacted is the event that redacts an event without a position.
	Redacted string `db:"rd,omitempty"`
	// Followed says of an event without a position that one with a position follows
	// it, so that it is no forward extremity should it be accepted after all.
	Followed bool `db:"fol,omitempty"`
}

// BeforeRoot and AfterRoot are the states before and after the event, if it is
// Judged.
func (r *IndexRow) BeforeRoot() trie.Root { return root(r.Before) }

// AfterRoot is the state after the event.
func (r *IndexRow) AfterRoot() trie.Root { return root(r.After) }

// Judged reports whether the states before and after the event are known.
func (r *IndexRow) Judged() bool { return r.After != nil }

// UnknownAt is a position of the room at which the event was not known yet.
func (r *IndexRow) UnknownAt() Pos {
	if r.Seen != 0 || r.Pos == 0 {
		return r.Seen
	}
	return r.Pos - 1
}

// unplaced is the event as a row of the room, without a position.
func (r *IndexRow) unplaced() *EventRow {
	return &EventRow{ID: r.ID, JSON: r.JSON, RoomVersion: r.RoomVersion, Root: r.After, Redacted: r.Redacted}
}

// StateRow is a piece of current state.
type StateRow struct {
	Type     string `db:"-"`
	StateKey string `db:"-"`
	ID       string `db:"id"`
	Pos      Pos    `db:"pos"`
	// Membership, DisplayName and AvatarURL are set for members.
	Membership  string `db:"-"`
	DisplayName string `db:"dn,omitempty"`
	AvatarURL   string `db:"av,omitempty"`
}

func decodeHead(it store.Item) (*Head, error) {
	h := new(Head)
	return h, store.Decode(it, h)
}

// DecodeEvent reads an E# row.
func DecodeEvent(it store.Item) (*EventRow, error) {
	r := new(EventRow)
	if err := store.Decode(it, r); err != nil {
		return nil, err
	}
	p, err := userlog.ParsePos(strings.TrimPrefix(it.Key.Sort, eventPre))
	r.Pos = p
	return r, err
}

func decodeState(it store.Item) (StateRow, error) {
	var r StateRow
	switch s := it.Key.Sort; {
	case strings.HasPrefix(s, statePre):
		// A state key may hold a #; the specification's types do not, and a
		// custom type that does is found through the trie.
		r.Type, r.StateKey, _ = strings.Cut(s[len(statePre):], "#")
	case strings.HasPrefix(s, memberPre):
		parts := strings.SplitN(s, "#", 4)
		if len(parts) != 4 {
			return r, fmt.Errorf("member row with sort key %q", s)
		}
		r.Type, r.Membership, r.StateKey = "m.room.member", parts[2], parts[3]
	}
	return r, store.Decode(it, &r)
}
