package main

import (
	"context"
	"net/http"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// finding is what users do with rooms, and how they find them, what was said there,
// and each other. The last ones tell what is held.
var finding = acts{
	"setState": func(ctx context.Context, u *user, a *args) (any, error) {
		return u.SendStateEvent(ctx, a.Room, event.Type{Type: a.Type, Class: event.StateEventType}, a.Key, a.Content)
	},
	"upgrade": func(ctx context.Context, u *user, a *args) (any, error) {
		var resp struct {
			Room id.RoomID `json:"replacement_room"`
		}
		_, err := u.MakeRequest(ctx, http.MethodPost, u.BuildClientURL("v3", "rooms", a.Room, "upgrade"), map[string]string{"new_version": a.Version}, &resp)
		return map[string]any{"room_id": resp.Room}, err
	},
	"knock": func(ctx context.Context, u *user, a *args) (any, error) {
		return u.KnockRoom(ctx, string(a.Room), &mautrix.ReqKnockRoom{Reason: a.Reason})
	},
	"enter":  func(ctx context.Context, u *user, a *args) (any, error) { return u.JoinRoom(ctx, string(a.Room), nil) },
	"name":   func(ctx context.Context, u *user, a *args) (any, error) { return u.CreateAlias(ctx, a.Alias, a.Room) },
	"unname": func(ctx context.Context, u *user, a *args) (any, error) { return u.DeleteAlias(ctx, a.Alias) },
	"resolve": func(ctx context.Context, u *user, a *args) (any, error) {
		return u.ResolveAlias(ctx, a.Alias)
	},
	"published": func(ctx context.Context, u *user, _ *args) (any, error) {
		resp, err := u.PublicRooms(ctx, &mautrix.ReqPublicRooms{Limit: 1000})
		if err != nil {
			return nil, err
		}
		rooms := []id.RoomID{}
		for _, room := range resp.Chunk {
			rooms = append(rooms, room.RoomID)
		}
		return rooms, nil
	},
	"people": func(ctx context.Context, u *user, a *args) (any, error) {
		resp, err := u.SearchUserDirectory(ctx, a.Term, 10)
		if err != nil {
			return nil, err
		}
		people := []id.UserID{}
		for _, who := range resp.Results {
			people = append(people, who.UserID)
		}
		return people, nil
	},
	"hierarchy": func(ctx context.Context, u *user, a *args) (any, error) {
		resp, err := u.Hierarchy(ctx, a.Room, nil)
		if err != nil {
			return nil, err
		}
		names := []string{}
		for _, room := range resp.Rooms {
			names = append(names, room.Name)
		}
		return names, nil
	},
	"at": func(ctx context.Context, u *user, a *args) (any, error) {
		return u.TimestampToEvent(ctx, a.Room, time.UnixMilli(a.TS), mautrix.Direction([]rune(a.Dir)[0]))
	},
	"around": func(ctx context.Context, u *user, a *args) (any, error) {
		resp, err := u.Context(ctx, a.Room, a.Event, nil, 20)
		if err != nil {
			return nil, err
		}
		list := []id.EventID{}
		for i := range resp.EventsBefore {
			list = append(list, resp.EventsBefore[len(resp.EventsBefore)-1-i].ID)
		}
		return append(append(list, resp.Event.ID), ids(resp.EventsAfter)...), nil
	},
	"search": func(ctx context.Context, u *user, a *args) (any, error) {
		var resp struct {
			Categories struct {
				RoomEvents struct {
					Results []struct{ Result *event.Event }
				} `json:"room_events"`
			} `json:"search_categories"`
		}
		req := map[string]any{"search_categories": map[string]any{"room_events": map[string]any{"search_term": a.Term, "order_by": "recent"}}}
		_, err := u.MakeRequest(ctx, http.MethodPost, u.BuildClientURL("v3", "search"), req, &resp)
		bodies := []any{}
		for _, r := range resp.Categories.RoomEvents.Results {
			bodies = append(bodies, r.Result.Content.Raw["body"])
		}
		return bodies, err
	},
	"notified": func(ctx context.Context, u *user, _ *args) (any, error) {
		var resp struct {
			Notifications []struct{ Event *event.Event }
		}
		_, err := u.MakeRequest(ctx, http.MethodGet, u.BuildClientURL("v3", "notifications"), nil, &resp)
		bodies := []any{}
		for _, n := range resp.Notifications {
			if body := n.Event.Content.Raw["body"]; body != nil {
				bodies = append(bodies, body)
			}
		}
		return bodies, err
	},

	"state": func(_ context.Context, u *user, a *args) (any, error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.held.state[stateKey{string(a.Room), a.Type, a.Key}], nil
	},
	"predecessor": func(_ context.Context, u *user, a *args) (any, error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		create := event.Content{VeryRaw: u.held.state[stateKey{string(a.Room), event.StateCreate.Type, ""}]}
		if create.VeryRaw == nil {
			return "", nil
		}
		if err := create.ParseRaw(event.StateCreate); err != nil {
			return nil, err
		}
		if before := create.AsCreate().Predecessor; before != nil {
			return before.RoomID, nil
		}
		return "", nil
	},
}
