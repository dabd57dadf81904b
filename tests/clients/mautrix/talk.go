package main

import (
	"context"
	"net/http"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// talking is what users do with messages. The last one tells what is held.
var talking = acts{
	"edit": func(ctx context.Context, u *user, a *args) (any, error) {
		content := &event.MessageEventContent{MsgType: event.MsgText, Body: a.Body}
		content.SetEdit(a.Event)
		return u.SendMessageEvent(ctx, a.Room, event.EventMessage, content)
	},
	"react": func(ctx context.Context, u *user, a *args) (any, error) {
		return u.SendReaction(ctx, a.Room, a.Event, a.Key)
	},
	"reply": func(ctx context.Context, u *user, a *args) (any, error) {
		content := &event.MessageEventContent{MsgType: event.MsgText, Body: a.Body}
		content.SetRelatesTo(new(event.RelatesTo).SetReplyTo(a.Event))
		return u.SendMessageEvent(ctx, a.Room, event.EventMessage, content)
	},
	"answer": func(ctx context.Context, u *user, a *args) (any, error) {
		content := &event.MessageEventContent{MsgType: event.MsgText, Body: a.Body}
		content.SetRelatesTo(new(event.RelatesTo).SetThread(a.Event, a.Event))
		return u.SendMessageEvent(ctx, a.Room, event.EventMessage, content)
	},
	"related": func(ctx context.Context, u *user, a *args) (any, error) {
		resp, err := u.GetRelations(ctx, a.Room, a.Event, &mautrix.ReqGetRelations{RelationType: event.RelationType(a.Relation)})
		if err != nil {
			return nil, err
		}
		return ids(resp.Chunk), nil
	},
	"threads": func(ctx context.Context, u *user, a *args) (any, error) {
		var resp struct{ Chunk []*event.Event }
		_, err := u.MakeRequest(ctx, http.MethodGet, u.BuildClientURL("v1", "rooms", a.Room, "threads"), nil, &resp)
		return ids(resp.Chunk), err
	},

	"message": func(_ context.Context, u *user, a *args) (any, error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if m := u.held.messages[a.Event]; m != nil {
			return m.clone(), nil
		}
		return nil, nil
	},
}

func ids(events []*event.Event) []id.EventID {
	list := []id.EventID{}
	for _, evt := range events {
		list = append(list, evt.ID)
	}
	return list
}
