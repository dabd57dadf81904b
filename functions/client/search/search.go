package search

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/timeline"
)

// search finds events by their words, in the rooms that the requesting user is or
// was in.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search
var search = route.Route{
	Name:      "search",
	Pattern:   "POST /_matrix/client/v3/search",
	Also:      route.R0,
	Standing:  route.SuspendedToo,
	Limit:     route.LimitMessage,
	Size:      route.Large,
	Unbounded: true,
	Uses:      timeline.Shows,
	Handler:   route.Handle(home.Timeline, serveSearch),
}

type searchRequest struct {
	NextBatch  string `query:"next_batch"`
	Categories struct {
		RoomEvents *roomEvents `json:"room_events"`
	} `json:"search_categories" required:"true"`
}

type roomEvents struct {
	SearchTerm   *string         `json:"search_term"`
	Keys         []string        `json:"keys"`
	Filter       json.RawMessage `json:"filter"`
	OrderBy      string          `json:"order_by"`
	EventContext *struct {
		BeforeLimit    *int `json:"before_limit"`
		AfterLimit     *int `json:"after_limit"`
		IncludeProfile bool `json:"include_profile"`
	} `json:"event_context"`
	IncludeState bool `json:"include_state"`
	Groupings    struct {
		GroupBy []struct {
			Key string `json:"key"`
		} `json:"group_by"`
	} `json:"groupings"`
}

type searchResponse struct {
	Categories resultCategories `json:"search_categories"`
}

type resultCategories struct {
	RoomEvents *timeline.SearchResponse `json:"room_events,omitempty"`
}

func serveSearch(ctx context.Context, s *timeline.Service, c route.Caller, req *searchRequest) (*searchResponse, error) {
	in := req.Categories.RoomEvents
	if in == nil {
		return &searchResponse{}, nil
	}
	if in.SearchTerm == nil {
		return nil, mxerr.MissingParam("The key %q is missing from the body.", "search_categories.room_events.search_term")
	}
	filter, err := timeline.ParseRoomEventFilter(string(in.Filter))
	if err != nil {
		return nil, err
	}
	r := timeline.SearchRequest{
		Term: *in.SearchTerm, Keys: in.Keys, Filter: filter, State: in.IncludeState, From: req.NextBatch,
	}
	switch in.OrderBy {
	case "", "rank":
	case "recent":
		r.Recent = true
	default:
		return nil, mxerr.InvalidParam("order_by is rank or recent, not %q.", in.OrderBy)
	}
	for _, g := range in.Groupings.GroupBy {
		r.GroupBy = append(r.GroupBy, g.Key)
	}
	if e := in.EventContext; e != nil {
		r.Around = &timeline.Around{Before: 5, After: 5, Profiles: e.IncludeProfile}
		if e.BeforeLimit != nil {
			r.Around.Before = *e.BeforeLimit
		}
		if e.AfterLimit != nil {
			r.Around.After = *e.AfterLimit
		}
	}
	found, err := s.Search(ctx, timeline.Viewer{User: c.UserID, Device: c.DeviceID}, r)
	return &searchResponse{resultCategories{found}}, err
}
