package directory

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// Lists is what Search uses.
var Lists = grant.ReadTable("server")

// Listing is a room as the directory shows it, and as it shows itself to those
// who are not in it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms
type Listing struct {
	RoomID        string `json:"room_id" db:"-"`
	Name          string `json:"name,omitempty" db:"n,omitempty"`
	Topic         string `json:"topic,omitempty" db:"t,omitempty"`
	Alias         string `json:"canonical_alias,omitempty" db:"a,omitempty"`
	AvatarURL     string `json:"avatar_url,omitempty" db:"av,omitempty"`
	Joined        int64  `json:"num_joined_members" db:"j"`
	WorldReadable bool   `json:"world_readable" db:"w,omitempty"`
	GuestCanJoin  bool   `json:"guest_can_join" db:"g,omitempty"`
	JoinRule      string `json:"join_rule,omitempty" db:"r,omitempty"`
	RoomType      string `json:"room_type,omitempty" db:"k,omitempty"`
}

// Discoverable reports whether strangers may come to know the room: they may join
// it, ask to, or read it, and there is somebody in it. A published room that is
// not is left out of the directory until it is.
func (l *Listing) Discoverable() bool {
	switch l.JoinRule {
	case "public", "knock", "restricted", "knock_restricted":
		return l.Joined > 0
	}
	return l.WorldReadable && l.Joined > 0
}

// Publication is what is known of a published room.
type Publication struct {
	Published bool `db:"-"`
	// At is the sort key of the room's Listing, empty while it has none.
	At string `db:"at,omitempty"`
	// Digest is that of the Listing, so that one which changed nothing is not
	// written again.
	Digest string `db:"d,omitempty"`
	// Version changes with each write.
	Version int64 `db:"v"`
}

const listedPart = "LISTED"

func publicKey(room string) store.Key { return store.Key{Part: "PUBLIC", Sort: room} }

var countKey = store.Key{Part: "LISTEDCOUNT", Sort: "COUNT"}

// listedSort puts rooms with more members first.
func listedSort(l *Listing) string {
	return fmt.Sprintf("%08x#%s", 0xffffffff-uint32(min(max(l.Joined, 0), 0xffffffff)), l.RoomID)
}

// Publication returns whether a room is published, and how it is listed.
func (s *Service) Publication(ctx context.Context, room string) (Publication, error) {
	var p Publication
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Server, Key: publicKey(room)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("read publication of %s: %w", room, err)
	}
	p.Published = true
	return p, store.Decode(it, &p)
}

// Publish marks a room as published; whoever calls it lists the room then.
func (s *Service) Publish(ctx context.Context, room string) error {
	_, err := s.DB.Write(ctx, PublishWrite(room).If(store.NotExists()))
	if err != nil && store.Failed(err) == nil {
		return fmt.Errorf("publish %s: %w", room, err)
	}
	return nil
}

// unchanged is the condition that nobody has written the publication since it was
// read.
func (p *Publication) unchanged() store.Cond {
	if p.Version == 0 {
		return slices.Concat(store.Exists(), store.Absent("v"))
	}
	return store.Equal("v", p.Version)
}

// Unpublish takes a room out of the directory. It fails with the condition that p
// is what was read last.
func (s *Service) Unpublish(ctx context.Context, room string, p Publication) error {
	ws := []store.Write{store.Delete(store.Server, publicKey(room)).If(p.unchanged())}
	if err := s.DB.Transact(ctx, append(ws, p.moveTo("", nil)...)...); err != nil {
		return fmt.Errorf("unpublish %s: %w", room, err)
	}
	return nil
}

// List makes the directory show a published room as l, or not at all if it is not
// discoverable. It fails with the condition that p is what was read last.
func (s *Service) List(ctx context.Context, l *Listing, p Publication) error {
	row := store.Encode(l)
	next := Publication{Version: p.Version + 1}
	if l.Discoverable() {
		next.At = listedSort(l)
		sum := sha256.Sum256(fmt.Appendf(nil, "%q", fmt.Sprint(*l)))
		next.Digest = base64.RawStdEncoding.EncodeToString(sum[:12])
	}
	if p.Version > 0 && p.At == next.At && p.Digest == next.Digest {
		return nil
	}
	ws := []store.Write{store.Put(store.Server, publicKey(l.RoomID), store.Encode(next)).If(p.unchanged())}
	if err := s.DB.Transact(ctx, append(ws, p.moveTo(next.At, row)...)...); err != nil {
		return fmt.Errorf("list %s: %w", l.RoomID, err)
	}
	return nil
}

// moveTo returns the writes that put a room's listing at another place, or take
// it away, and keep the count of all.
func (p *Publication) moveTo(at string, row store.Attrs) []store.Write {
	var ws []store.Write
	if p.At != "" && p.At != at {
		ws = append(ws, store.Delete(store.Server, store.Key{Part: listedPart, Sort: p.At}))
	}
	if at != "" {
		ws = append(ws, store.Put(store.Server, store.Key{Part: listedPart, Sort: at}, row))
	}
	switch {
	case p.At == "" && at != "":
		ws = append(ws, store.Update(store.Server, countKey).Add("n", 1))
	case p.At != "" && at == "":
		ws = append(ws, store.Update(store.Server, countKey).Add("n", -1))
	}
	return ws
}

// Search is a request for a page of the directory.
type Search struct {
	// Limit is the most rooms to return; zero is MaxListings.
	Limit int
	// Since is a token of an earlier page, or empty.
	Since string
	// Term is to be found in the name, the topic or the alias, whatever its case,
	// or is the id of the room.
	Term string
	// Types are those of the rooms to return, "" for rooms without one. Without
	// any, all rooms are returned.
	Types []string
}

// Listings is a page of the directory.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms
type Listings struct {
	Chunk []*Listing `json:"chunk"`
	Next  string     `json:"next_batch,omitempty"`
	Prev  string     `json:"prev_batch,omitempty"`
	Total int64      `json:"total_room_count_estimate"`
}

const (
	// MaxListings is the most rooms in a page.
	MaxListings = 100
	// maxScan bounds how many rooms a request looks at when its filter matches
	// little; the page then is short, and has a token all the same.
	maxScan = 1000
	// maxBytes bounds the text of a page; a topic may be as large as an event.
	maxBytes = 1 << 20
)

// Search returns a page of the directory, the rooms with most members first. A
// token is a boundary in that order, which a room passes by when its members
// become more or fewer; all others keep their place.
func (s *Service) Search(ctx context.Context, search Search) (*Listings, error) {
	if search.Limit <= 0 || search.Limit > MaxListings {
		search.Limit = MaxListings
	}
	from, err := parseSince(search.Since)
	if err != nil {
		return nil, err
	}
	found, first, last, more, err := s.scan(ctx, &search, from)
	if err != nil {
		return nil, err
	}
	page := &Listings{Chunk: found}
	if len(found) == 0 {
		// What lies the other way begins where this page did.
		first = boundary{back: from.back, at: from.at, itself: !from.itself}
	}
	if first.back = !from.back; first.at != "" && (from.back || from.at != "") {
		page.set(first)
	}
	if more {
		page.set(last)
	}
	if from.back {
		slices.Reverse(page.Chunk)
	}
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Server, Key: countKey}, store.Eventual)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("count listed rooms: %w", err)
	}
	page.Total = it.Int("n")
	return page, nil
}

func (l *Listings) set(b boundary) {
	if b.back {
		l.Prev = b.String()
	} else {
		l.Next = b.String()
	}
}

// scan reads on from a boundary. first is at the first room of the page, last
// where it ends, and more says whether there may be rooms beyond.
func (s *Service) scan(ctx context.Context, search *Search, from boundary) (found []*Listing, first, last boundary, more bool, err error) {
	found = []*Listing{}
	last = boundary{back: from.back}
	size, scanned := 0, 0
	q := store.Query{Table: store.Server, Part: listedPart, Reverse: from.back, Limit: search.Limit + 1, Consistency: store.Consistent}
	switch {
	case !from.itself:
		q.After = from.at
	case from.back:
		q.To = from.at
	default:
		q.From = from.at
	}
	for {
		page, err := s.DB.Query(ctx, q)
		if err != nil {
			return nil, first, last, false, fmt.Errorf("read directory: %w", err)
		}
		for _, it := range page.Items {
			l := &Listing{RoomID: it.Key.Sort[strings.Index(it.Key.Sort, "#")+1:]}
			if err := store.Decode(it, l); err != nil {
				return nil, first, last, false, err
			}
			wanted := search.wants(l)
			if wanted && (len(found) == search.Limit || size > maxBytes) || scanned == maxScan {
				return found, first, last, true, nil
			}
			scanned++
			last.at = it.Key.Sort
			if wanted {
				if len(found) == 0 {
					first.at = it.Key.Sort
				}
				found = append(found, l)
				size += len(l.Name) + len(l.Topic)
			}
		}
		if q.After = page.Next; q.After == "" {
			return found, first, last, false, nil
		}
		q.Limit = maxScan + 1 - scanned
	}
}

func (s *Search) wants(l *Listing) bool {
	if len(s.Types) > 0 && !slices.Contains(s.Types, l.RoomType) {
		return false
	}
	if s.Term == "" || s.Term == l.RoomID {
		return true
	}
	term := strings.ToLower(s.Term)
	for _, text := range []string{l.Name, l.Topic, l.Alias} {
		if strings.Contains(strings.ToLower(text), term) {
			return true
		}
	}
	return false
}

// boundary is a place in the order of the directory, at a listing that may be gone
// by now, from which one reads on or back.
type boundary struct {
	back bool
	at   string
	// itself says that the listing is on the side that is read.
	itself bool
}

// String is the form in tokens. The letter says which way, and in upper case that
// the listing itself is read.
func (b boundary) String() string {
	kind := "n"
	if b.back {
		kind = "p"
	}
	if b.itself {
		kind = strings.ToUpper(kind)
	}
	return kind + base64.RawURLEncoding.EncodeToString([]byte(b.at))
}

func parseSince(tok string) (b boundary, err error) {
	if tok == "" {
		return b, nil
	}
	at, err := base64.RawURLEncoding.DecodeString(tok[1:])
	members, room, ok := strings.Cut(string(at), "#")
	if err != nil || !strings.Contains("npNP", tok[:1]) || !ok || len(members) != 8 || !id.ValidRoom(room) {
		return b, mxerr.InvalidParam("since holds no token of this server; start without it.")
	}
	kind := strings.ToLower(tok[:1])
	return boundary{back: kind == "p", at: string(at), itself: kind != tok[:1]}, nil
}
