package timeline

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/store"
)

// The rows of relationships, under the partition of their room. The parent is an
// event id as a child spells it: the parent may come later, or be no event at all.
//
//	RL#parent##pos                    RelationRow  children by position, also by way of others
//	RL#parent#rel_type#pos            RelationRow  m.thread and m.reference, which are aggregated
//	RL#parent#m.replace#sender#ts#id  RelationRow  edits, by what makes one more recent
//	RL#parent#m.annotation#digest     {id}         that somebody has said just this of it
//	RW#parent                         {v, flags}   it has children, and no position yet
//	TH#root                           ThreadRow    how many events a thread has
//	TH#root#sender                    {n}          and of whom
//	TL#pos                            {root}       threads, by their latest event
//
// All are written in the transaction that gives the child its position, so they
// neither lag nor get lost, and taken back in that of the child's redaction: but
// rows of grandparents stay, for whose sake readers look at what is between. None
// is larger than 2 KB. What is aggregated is also said in the row of the parent
// (Edited, Referenced, Threaded), so that events without children cost no read.
const (
	relationPre = "RL#"
	waitingPre  = "RW#"
	threadPre   = "TH#"
	activityPre = "TL#"
)

// MaxDepth is how many relationships lie between an event and the farthest
// descendants that are found through it.
const MaxDepth = 3

// RelationRow is a child of an event, with what decides whether it is shown.
type RelationRow struct {
	Pos        Pos    `db:"pos"`
	ID         string `db:"id"`
	RelType    string `db:"rel"`
	Type       string `db:"t"`
	Sender     string `db:"by"`
	Visibility string `db:"hv"`
	// Via are the events between the two, from the child on, if it is no child but a
	// descendant.
	Via []Between `db:"via,omitempty"`
}

// Between is an event that relates a descendant to an ancestor.
type Between struct {
	ID      string `json:"i"`
	RelType string `json:"r"`
	Type    string `json:"t"`
}

// ThreadRow counts the events of a thread.
type ThreadRow struct {
	N int64 `db:"n"`
	// Latest is the position of the latest of them; zero if there is none any more.
	Latest Pos `db:"l,omitempty"`
}

// RelationKey is the key of a child or descendant by its position.
func RelationKey(room, parent string, p Pos) store.Key {
	return store.Key{Part: RoomPart(room), Sort: relationPre + parent + "##" + p.String()}
}

// AggregatedKey is the key of a child that is aggregated by its rel_type.
func AggregatedKey(room, parent, relType string, p Pos) store.Key {
	return store.Key{Part: RoomPart(room), Sort: relationPre + parent + "#" + relType + "#" + p.String()}
}

// EditKey is the key of an edit. Of those of a sender the last key is the most
// recent edit.
func EditKey(room, parent string, e *pdu.Event) store.Key {
	return store.Key{Part: RoomPart(room), Sort: editsOf(parent, e.Sender) + fmt.Sprintf("%016x#", uint64(e.OriginServerTS)^1<<63) + e.ID}
}

func editsOf(parent, sender string) string {
	return relationPre + parent + "#" + pdu.RelReplace + "#" + sender + "#"
}

// AnnotationKey is the key of what somebody says of an event.
func AnnotationKey(room, parent string, e *pdu.Event, key string) store.Key {
	sum := sha256.Sum256([]byte(e.Sender + "\x00" + e.Type + "\x00" + key))
	return store.Key{
		Part: RoomPart(room),
		Sort: relationPre + parent + "#" + pdu.RelAnnotation + "#" + base64.RawURLEncoding.EncodeToString(sum[:18]),
	}
}

// WaitingKey is the key of what children say of a parent without a position.
func WaitingKey(room, parent string) store.Key {
	return store.Key{Part: RoomPart(room), Sort: waitingPre + parent}
}

// ThreadKey is the key of a thread, and ParticipantKey that of who takes part.
func ThreadKey(room, root string) store.Key {
	return store.Key{Part: RoomPart(room), Sort: threadPre + root}
}

// ParticipantKey is the key of how many events of a thread somebody has sent.
func ParticipantKey(room, root, user string) store.Key {
	return store.Key{Part: RoomPart(room), Sort: threadPre + root + "#" + user}
}

// ActivityKey is the key of a thread by its latest event.
func ActivityKey(room string, p Pos) store.Key {
	return store.Key{Part: RoomPart(room), Sort: activityPre + p.String()}
}

// Children returns at most limit of the children and descendants of an event, the
// newest first.
func (s *Service) Children(ctx context.Context, room, parent string, limit int) ([]*RelationRow, error) {
	return s.relations(ctx, room, RelationKey(room, parent, 0).Sort, RelationKey(room, parent, end).Sort, true, limit)
}

// ThreadEvents is Children for the events of a thread.
func (s *Service) ThreadEvents(ctx context.Context, room, root string, limit int) ([]*RelationRow, error) {
	from, to := AggregatedKey(room, root, pdu.RelThread, 0), AggregatedKey(room, root, pdu.RelThread, end)
	return s.relations(ctx, room, from.Sort, to.Sort, true, limit)
}

// relations reads rows with sort keys in [from, to].
func (s *Service) relations(ctx context.Context, room, from, to string, reverse bool, limit int) ([]*RelationRow, error) {
	var rows []*RelationRow
	q := store.Query{Table: store.Rooms, Part: RoomPart(room), From: from, To: to, Reverse: reverse, Limit: limit, Consistency: store.Consistent}
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("read relationships of %s: %w", room, err)
		}
		r := new(RelationRow)
		if err := store.Decode(it, r); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}
