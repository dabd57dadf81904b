package timeline

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// Filter says what of an answer a client wants.
//
// https://spec.matrix.org/v1.19/client-server-api/#filtering
type Filter struct {
	EventFields []string    `json:"event_fields"`
	EventFormat string      `json:"event_format"`
	Presence    EventFilter `json:"presence"`
	AccountData EventFilter `json:"account_data"`
	Room        RoomFilter  `json:"room"`
}

// RoomFilter is the part about rooms.
type RoomFilter struct {
	Rooms        []string        `json:"rooms"`
	NotRooms     []string        `json:"not_rooms"`
	IncludeLeave bool            `json:"include_leave"`
	State        RoomEventFilter `json:"state"`
	Timeline     RoomEventFilter `json:"timeline"`
	Ephemeral    RoomEventFilter `json:"ephemeral"`
	AccountData  RoomEventFilter `json:"account_data"`
}

// EventFilter selects events. A list that is absent selects all; one that is
// empty selects none.
type EventFilter struct {
	Limit      *int     `json:"limit"`
	Types      []string `json:"types"`
	NotTypes   []string `json:"not_types"`
	Senders    []string `json:"senders"`
	NotSenders []string `json:"not_senders"`
}

// RoomEventFilter selects events of rooms.
type RoomEventFilter struct {
	EventFilter
	Rooms           []string `json:"rooms"`
	NotRooms        []string `json:"not_rooms"`
	ContainsURL     *bool    `json:"contains_url"`
	LazyLoadMembers bool     `json:"lazy_load_members"`
	// UnreadThreads asks for the counts of threads apart from those of the main
	// timeline.
	UnreadThreads bool `json:"unread_thread_notifications"`
	// IncludeRedundantMembers, where members are loaded lazily, has them told again
	// whom the client knows.
	IncludeRedundantMembers bool `json:"include_redundant_members"`
}

const (
	// maxFilter bounds a filter, in bytes, and maxFilters those that a user stores.
	maxFilter  = 16 << 10
	maxFilters = 1000
	// defaultLimit is the number of events where the client names none, and
	// maxLimit the largest in a timeline of /sync.
	defaultLimit = 10
	maxLimit     = 500
)

// ParseFilter reads the filter of /sync.
func ParseFilter(raw []byte) (*Filter, error) {
	f := new(Filter)
	if err := parseFilter(raw, f); err != nil {
		return nil, err
	}
	r := &f.Room
	for _, rooms := range [][]string{r.Rooms, r.NotRooms} {
		if err := checkIDs(rooms, id.ValidRoom, "a room id"); err != nil {
			return nil, err
		}
	}
	for _, e := range []*RoomEventFilter{&r.State, &r.Timeline, &r.Ephemeral, &r.AccountData} {
		if err := e.check(); err != nil {
			return nil, err
		}
	}
	for _, e := range []*EventFilter{&f.Presence, &f.AccountData} {
		if err := e.check(); err != nil {
			return nil, err
		}
	}
	if f.EventFormat != "" && f.EventFormat != "client" && f.EventFormat != "federation" {
		return nil, mxerr.BadJSON("event_format is client or federation, not %q.", f.EventFormat)
	}
	return f, nil
}

// ParseRoomEventFilter reads the filter of /messages and its kin; an empty one
// selects all.
func ParseRoomEventFilter(raw string) (*RoomEventFilter, error) {
	f := new(RoomEventFilter)
	if raw == "" {
		return f, nil
	}
	if err := parseFilter([]byte(raw), f); err != nil {
		return nil, err
	}
	return f, f.check()
}

func parseFilter(raw []byte, f any) error {
	if len(raw) > maxFilter {
		return mxerr.TooLarge("A filter may have at most %d bytes.", maxFilter)
	}
	if !json.Valid(raw) {
		return mxerr.NotJSON("The filter is not valid JSON.")
	}
	err := json.Unmarshal(raw, f)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field == "" {
		return mxerr.BadJSON("A filter must be a JSON object.")
	}
	if errors.As(err, &wrong) {
		// Filters of room events have the fields of EventFilter as their own.
		key := strings.ReplaceAll(wrong.Field, "EventFilter.", "")
		return mxerr.BadJSON("The key %q of the filter must not be a %s.", key, wrong.Value)
	}
	return err
}

func (f *EventFilter) check() error {
	for _, users := range [][]string{f.Senders, f.NotSenders} {
		if err := checkIDs(users, id.ValidUser, "a user id"); err != nil {
			return err
		}
	}
	if f.Limit != nil && *f.Limit < 0 {
		return mxerr.BadJSON("The limit of a filter must not be negative.")
	}
	return nil
}

func (f *RoomEventFilter) check() error {
	for _, rooms := range [][]string{f.Rooms, f.NotRooms} {
		if err := checkIDs(rooms, id.ValidRoom, "a room id"); err != nil {
			return err
		}
	}
	return f.EventFilter.check()
}

func checkIDs(ids []string, valid func(string) bool, what string) error {
	for _, s := range ids {
		if !valid(s) {
			return mxerr.BadJSON("The filter holds %q, which is not %s.", s, what)
		}
	}
	return nil
}

func (f *EventFilter) limit() int {
	if f.Limit == nil {
		return defaultLimit
	}
	return min(*f.Limit, maxLimit)
}

// wantsType reports whether events of a type may pass.
func (f *EventFilter) wantsType(typ string) bool {
	is := func(pattern string) bool { return matches(pattern, typ) }
	return !slices.ContainsFunc(f.NotTypes, is) && (f.Types == nil || slices.ContainsFunc(f.Types, is))
}

func (f *EventFilter) wants(typ, sender string) bool {
	return f.wantsType(typ) && !slices.Contains(f.NotSenders, sender) &&
		(f.Senders == nil || slices.Contains(f.Senders, sender))
}

// wantsUnsent is wants for what has no sender, such as account data, and so is from
// none of those who are asked for.
func (f *EventFilter) wantsUnsent(typ string) bool { return f.wants(typ, "") }

// wantsRoom reports whether anything of a room may pass.
func (f *RoomEventFilter) wantsRoom(room string) bool { return wantsRoom(f.Rooms, f.NotRooms, room) }

func (f *RoomFilter) wantsRoom(room string) bool { return wantsRoom(f.Rooms, f.NotRooms, room) }

func wantsRoom(rooms, not []string, room string) bool {
	return !slices.Contains(not, room) && (rooms == nil || slices.Contains(rooms, room))
}

func (f *RoomEventFilter) wantsEvent(e *pdu.Event) bool {
	if !f.wants(e.Type, e.Sender) {
		return false
	}
	if f.ContainsURL == nil {
		return true
	}
	return (canonicaljson.Get(e.Content, "url") != nil) == *f.ContainsURL
}

// matches reports whether s fits a pattern in which * stands for any characters.
func matches(pattern, s string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	for {
		part, more, wild := strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(s, part)
		}
		// The earliest match leaves the most for the parts that follow.
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}

// A stored filter is the row F#id of its user, with the JSON as it was sent. The
// id is a hash of it, so rows never change, and writing one twice is writing it
// once. If it is lost, clients get M_NOT_FOUND and define it anew.
//
// The row FILTERS counts them. It is written after the filter, so a process that
// dies in between leaves one uncounted, which is no harm.
const filterPre = "F#"

var (
	// DefinesFilters is what DefineFilter uses, and ReadsFilters what Filter uses.
	DefinesFilters = grant.WriteTable("users")
	ReadsFilters   = grant.ReadTable("users")
)

func filterKey(user, filterID string) store.Key {
	return store.Key{Part: userlog.Part(user), Sort: filterPre + filterID}
}

// DefineFilter keeps a filter and returns its id.
func (s *Service) DefineFilter(ctx context.Context, user string, raw json.RawMessage) (string, error) {
	if _, err := ParseFilter(raw); err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	filterID := base64.RawURLEncoding.EncodeToString(sum[:12])
	w := store.Put(store.Users, filterKey(user, filterID), store.Attrs{"b": []byte(raw)}).If(store.NotExists())
	switch _, err := s.DB.Write(ctx, w); {
	case store.Failed(err) != nil:
		return filterID, nil // defined before
	case err != nil:
		return "", fmt.Errorf("write filter of %s: %w", user, err)
	}
	return filterID, s.countFilter(ctx, user, filterID)
}

// countFilter counts a new filter, and takes it back if it is one too many.
func (s *Service) countFilter(ctx context.Context, user, filterID string) error {
	w := store.Update(store.Users, store.Key{Part: userlog.Part(user), Sort: "FILTERS"}).Add("n", 1).
		If(store.AnyOf(store.Absent("n"), store.Less("n", int64(maxFilters))))
	_, err := s.DB.Write(ctx, w)
	tooMany := store.Failed(err) != nil
	if tooMany {
		_, err = s.DB.Write(ctx, store.Delete(store.Users, filterKey(user, filterID)))
	}
	switch {
	case err != nil:
		return fmt.Errorf("count filters of %s: %w", user, err)
	case tooMany:
		return mxerr.Forbidden("You have %d filters already; use one of those, or send the filter itself with each request.", maxFilters)
	}
	return nil
}

// Filter returns a filter as it was defined, or M_NOT_FOUND.
func (s *Service) Filter(ctx context.Context, user, filterID string) (json.RawMessage, error) {
	notFound := mxerr.NotFound("You have no filter %q.", filterID)
	if len(filterID) != base64.RawURLEncoding.EncodedLen(12) {
		return nil, notFound
	}
	key := filterKey(user, filterID)
	if raw, ok := s.filters.get(key.String()); ok {
		return raw, nil
	}
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Users, Key: key}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound
	}
	if err != nil {
		return nil, fmt.Errorf("read filter of %s: %w", user, err)
	}
	raw := json.RawMessage(it.Bytes("b"))
	s.filters.put(key.String(), raw, len(raw)+200)
	return raw, nil
}

// filterOf reads the filter parameter of /sync: JSON, or the id of a filter.
func (s *Service) filterOf(ctx context.Context, user, param string) (*Filter, error) {
	switch {
	case param == "":
		return new(Filter), nil
	case param[0] == '{':
		return ParseFilter([]byte(param))
	}
	raw, err := s.Filter(ctx, user, param)
	if mxerr.Is(err, "M_NOT_FOUND") {
		return nil, mxerr.InvalidParam("You have no filter %q; define it again.", param)
	}
	if err != nil {
		return nil, err
	}
	return ParseFilter(raw)
}
