package timeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"

	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/timeline/words"
)

// SearchRequest is a request of /search for events of rooms.
type SearchRequest struct {
	Term string
	// Keys are those of the contents that are searched; nil: all.
	Keys   []string
	Filter *RoomEventFilter
	// Recent orders by time, and else the most relevant come first.
	Recent bool
	// Around asks for what happened around each result.
	Around *Around
	// State asks for the state of each room with a result.
	State bool
	// GroupBy are the groups, "room_id" or "sender".
	GroupBy []string
	From    string // a next_batch
}

// Around is how many events are told before and after each result, MaxAround at
// most, and whether with the profiles of those who sent them.
type Around struct {
	Before, After int
	Profiles      bool
}

// SearchResponse is an answer of /search.
type SearchResponse struct {
	Count      int64                              `json:"count"`
	Highlights []string                           `json:"highlights"`
	Results    []SearchResult                     `json:"results"`
	State      map[string][]json.RawMessage       `json:"state,omitempty"`
	Groups     map[string]map[string]*SearchGroup `json:"groups,omitempty"`
	Next       string                             `json:"next_batch,omitempty"`
}

// SearchResult is an event that was found. The higher the rank, the better.
type SearchResult struct {
	Rank    float64         `json:"rank"`
	Result  json.RawMessage `json:"result"`
	Context *SearchContext  `json:"context,omitempty"`
}

// SearchContext is what happened around a result, in the order of /context.
type SearchContext struct {
	Start    string              `json:"start"`
	End      string              `json:"end"`
	Before   []json.RawMessage   `json:"events_before"`
	After    []json.RawMessage   `json:"events_after"`
	Profiles map[string]nameCard `json:"profile_info,omitempty"`
}

type nameCard struct {
	DisplayName string `json:"displayname,omitempty"`
	AvatarURL   string `json:"avatar_url,omitempty"`
}

// SearchGroup are the results of a group. Groups are ordered by their first result.
type SearchGroup struct {
	Order   int64    `json:"order"`
	Next    string   `json:"next_batch,omitempty"`
	Results []string `json:"results"`
}

const (
	// MaxAround is the most events before a result, and after it. A page has MaxFound
	// results at most.
	MaxAround = 20
	// maxTerm bounds what is searched for, in bytes.
	maxTerm = 1024
	// maxSearchedRooms is how many rooms are searched together. Those of a user who is
	// in more come after each other, by their ids.
	maxSearchedRooms = 300
	// maxLooks is how many events and runs a page looks at. A page that had to look at
	// more is shorter than the client asked for, and goes on.
	maxLooks = 1500
	// rankedTogether is how many results, the newest first, are put in the order of
	// their rank. It takes all of them to be read, for each page.
	rankedTogether = 100
	maxWritten     = 100 // words to highlight
)

var searchedKeys = map[string]words.Kind{"content.body": words.Body, "content.name": words.Name, "content.topic": words.Topic}

// Search finds events by their words, in all rooms that the user is in or was in
// and has not forgotten, but for those that are encrypted. An event is found by what
// it says now, as the user sees it; one that was edited is found as itself, with the
// edit bundled.
//
// Results are ordered by the time of the events (origin_server_ts), or by rank: the
// best of the latest rankedTogether, then of those before them, and so on. So pages
// neither repeat nor leave out what is there all the time, whatever comes meanwhile.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search
func (s *Service) Search(ctx context.Context, v Viewer, req SearchRequest) (*SearchResponse, error) {
	from, err := req.check()
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		q := &search{s: s, Viewer: v, req: req, query: words.ParseQuery(req.Term), from: from, ignores: &ignores{s: s, user: v.User}}
		resp, err := q.answer(ctx)
		if !errors.Is(err, ErrRunGone) || try == 3 {
			return resp, err
		}
	}
}

// check refuses what cannot be searched for, and reads the token.
func (req *SearchRequest) check() (from token.Search, err error) {
	if len(req.Term) > maxTerm {
		return from, mxerr.InvalidParam("search_term may have at most %d bytes.", maxTerm)
	}
	for _, key := range req.Keys {
		if _, ok := searchedKeys[key]; !ok {
			return from, mxerr.InvalidParam("content.body, content.name and content.topic can be searched, not %q.", key)
		}
	}
	for _, key := range req.GroupBy {
		if key != "room_id" && key != "sender" {
			return from, mxerr.InvalidParam("Results can be grouped by room_id and sender, not by %q.", key)
		}
	}
	if a := req.Around; a != nil && (a.Before < 0 || a.After < 0) {
		return from, mxerr.InvalidParam("before_limit and after_limit must not be negative.")
	}
	if req.From == "" {
		return token.Search{Ranked: !req.Recent}, nil
	}
	if from, err = token.ParseSearch(req.From); err != nil {
		return from, badToken("next_batch", err)
	}
	if from.Ranked == req.Recent {
		return from, mxerr.InvalidParam("The next_batch is of a search with another order_by; start without it.")
	}
	return from, nil
}

// search is a search on its way to a page.
type search struct {
	s *Service
	Viewer
	req     SearchRequest
	query   *words.Query
	from    token.Search
	ignores *ignores

	rooms []*view // all that are searched, by id
	open  []*view // those of them that are searched now
	found *finder // in those
}

// answer makes the page.
func (q *search) answer(ctx context.Context) (*SearchResponse, error) {
	resp := &SearchResponse{Highlights: []string{}, Results: []SearchResult{}}
	limit := min(q.req.Filter.limit(), MaxFound)
	if q.query.Empty() || limit == 0 {
		return resp, nil
	}
	var err error
	if q.rooms, err = q.searchedRooms(ctx); err != nil {
		return nil, err
	}
	page := q.recent
	if !q.req.Recent {
		page = q.ranked
	}
	hits, next, more, err := page(ctx, limit)
	if err != nil {
		return nil, err
	}
	next.Shown += int64(len(hits))
	resp.Count = next.Shown + more
	if next.Rooms != "" || next.Last != (token.Place{}) || next.Top != (token.Place{}) {
		resp.Next = next.String()
	}
	for _, h := range hits {
		for _, written := range h.match.Written {
			if !slices.Contains(resp.Highlights, written) && len(resp.Highlights) < maxWritten {
				resp.Highlights = append(resp.Highlights, written)
			}
		}
	}
	q.group(resp, hits, next)
	return resp, q.show(ctx, resp, hits)
}

// begin begins to search the rooms that come after those that are done; it reports
// false if there are none.
func (q *search) begin(ctx context.Context, done string, below, floor token.Place) (bool, error) {
	at, _ := slices.BinarySearchFunc(q.rooms, done, func(w *view, room string) int {
		if w.room <= room {
			return -1
		}
		return 1
	})
	if q.open = q.rooms[at:]; len(q.open) == 0 {
		return false, nil
	}
	q.open = q.open[:min(len(q.open), maxSearchedRooms)]
	looks := 0
	if q.found != nil {
		looks = q.found.looks
	}
	var err error
	q.found, err = q.find(ctx, q.open, below, floor, looks)
	return true, err
}

// last is the room up to which rooms are done when those that are open are; "" if
// there are no others.
func (q *search) last() string {
	if q.open[len(q.open)-1] == q.rooms[len(q.rooms)-1] {
		return ""
	}
	return q.open[len(q.open)-1].room
}

// recent is a page in the order of time: what comes first of that which is left, the
// place where the next page goes on, which is zero at the end, and how many results
// more there are, about.
func (q *search) recent(ctx context.Context, limit int) (hits []*hit, next token.Search, more int64, err error) {
	next = q.from
	for next.Last = q.from.Last; ; next.Last = (token.Place{}) {
		any, err := q.begin(ctx, next.Rooms, next.Last, token.Place{})
		if err != nil || !any {
			next.Rooms, next.Last = "", token.Place{}
			return hits, next, 0, err
		}
		found, err := q.found.take(ctx, limit-len(hits))
		if err != nil {
			return nil, next, 0, err
		}
		if hits = append(hits, found...); len(hits) == limit || q.found.stopped {
			next.Last = q.found.below
			return hits, next, q.found.left(), nil
		}
		if next.Rooms = q.last(); next.Rooms == "" {
			next.Last = token.Place{}
			return hits, next, 0, nil
		}
	}
}

// everything is a floor below all results.
var everything = token.Place{Pos: 1}

// ranked is a page of a window, see recent.
func (q *search) ranked(ctx context.Context, limit int) (hits []*hit, next token.Search, more int64, err error) {
	next = q.from
	for {
		any, err := q.begin(ctx, next.Rooms, next.Top, next.Bottom)
		if err != nil || !any {
			return nil, token.Search{Ranked: true, Scope: next.Scope, Group: next.Group, Shown: next.Shown}, 0, err
		}
		begun, window := next.Bottom != (token.Place{}), rankedTogether
		if begun {
			window *= 2 // something may have come, from other servers, that is older
		}
		if hits, err = q.found.take(ctx, window); err != nil {
			return nil, next, 0, err
		}
		over := len(hits) < window && !q.found.stopped
		switch {
		case !over:
			next.Bottom = q.found.below
		case !begun:
			next.Bottom = everything
		default:
			over = next.Bottom == everything
		}
		hits = slices.DeleteFunc(hits, func(h *hit) bool {
			return next.Last != (token.Place{}) && h.compare(next.LastRank, next.Last) <= 0
		})
		slices.SortFunc(hits, func(a, b *hit) int { return a.compare(b.rank(), b.place) })
		more = q.found.left()
		if len(hits) >= limit {
			more += int64(len(hits) - limit)
			hits = hits[:limit]
			next.Last, next.LastRank = hits[limit-1].place, hits[limit-1].rank()
			return hits, next, more, nil
		}
		// The window ends, and with it the page, unless there is nothing in it.
		shown := next.Shown
		next = token.Search{Ranked: true, Scope: next.Scope, Group: next.Group, Rooms: next.Rooms, Shown: shown, Top: next.Bottom}
		if over {
			next.Top, next.Rooms = token.Place{}, q.last()
		}
		if len(hits) > 0 || q.found.stopped || over && next.Rooms == "" {
			return hits, next, more, nil
		}
	}
}

// rank is the rank in millionths, so that no rounding makes it another.
func (h *hit) rank() int64 { return int64(math.Round(h.match.Rank * 1e6)) }

// compare orders by rank and then by time: it is negative if the hit comes before a
// result with that rank and place.
func (h *hit) compare(rank int64, p token.Place) int {
	return cmp.Or(cmp.Compare(rank, h.rank()), newer(h.place, p))
}

// newer orders places from the newest to the oldest.
func newer(a, b token.Place) int {
	return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(b.Room, a.Room), cmp.Compare(b.Pos, a.Pos))
}

// group adds the groups of the results.
func (q *search) group(resp *SearchResponse, hits []*hit, next token.Search) {
	for _, key := range slices.Compact(slices.Sorted(slices.Values(q.req.GroupBy))) {
		groups := map[string]*SearchGroup{}
		for i, h := range hits {
			value := h.room.w.room
			if key == "sender" {
				value = h.event.Sender
			}
			g := groups[value]
			if g == nil {
				g = &SearchGroup{Order: next.Shown - int64(len(hits)-i) + 1}
				groups[value] = g
			}
			g.Results = append(g.Results, h.row.ID)
		}
		for value, g := range groups {
			if resp.Next == "" || next.Scope != "" && (next.Scope != key || next.Group != value) {
				continue
			}
			in := next
			if in.Scope, in.Group = key, value; next.Scope == "" {
				in.Shown = int64(len(g.Results))
			}
			g.Next = in.String()
		}
		if resp.Groups == nil {
			resp.Groups = map[string]map[string]*SearchGroup{}
		}
		resp.Groups[key] = groups
	}
}
