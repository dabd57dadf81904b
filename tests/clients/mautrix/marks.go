package main

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
	"maunium.net/go/mautrix/pushrules"
)

// marking is what users do that is no message. The last ones tell what is held.
var marking = acts{
	"read": func(ctx context.Context, u *user, a *args) (any, error) {
		return nil, u.SendReceipt(ctx, a.Room, a.Event, event.ReceiptType(a.Type), &mautrix.ReqSendReceipt{ThreadID: string(a.Thread)})
	},
	"fullyRead": func(ctx context.Context, u *user, a *args) (any, error) {
		return nil, u.SetReadMarkers(ctx, a.Room, &mautrix.ReqSetReadMarkers{FullyRead: a.Event})
	},
	"type": func(ctx context.Context, u *user, a *args) (any, error) {
		return u.UserTyping(ctx, a.Room, a.On, 20*time.Second)
	},
	"set": func(ctx context.Context, u *user, a *args) (any, error) {
		if a.Room != "" {
			return nil, u.SetRoomAccountData(ctx, a.Room, a.Type, a.Content)
		}
		return nil, u.SetAccountData(ctx, a.Type, a.Content)
	},
	"tag": func(ctx context.Context, u *user, a *args) (any, error) {
		return nil, u.AddTagWithCustomData(ctx, a.Room, a.Tag, map[string]any{"order": a.Order})
	},
	"untag": func(ctx context.Context, u *user, a *args) (any, error) { return nil, u.RemoveTag(ctx, a.Room, a.Tag) },
	"ignore": func(ctx context.Context, u *user, a *args) (any, error) {
		content := event.IgnoredUserListEventContent{IgnoredUsers: map[id.UserID]event.IgnoredUser{}}
		for _, ignored := range a.Users {
			content.IgnoredUsers[ignored] = event.IgnoredUser{}
		}
		return nil, u.SetAccountData(ctx, event.AccountDataIgnoredUserList.Type, &content)
	},
	"mute": func(ctx context.Context, u *user, a *args) (any, error) {
		if !a.On {
			return nil, u.DeletePushRule(ctx, "global", pushrules.RoomRule, string(a.Room))
		}
		return nil, u.PutPushRule(ctx, "global", pushrules.RoomRule, string(a.Room), &mautrix.ReqPutPushRule{Actions: []*pushrules.PushAction{}})
	},
	// setPresence is also for each /sync from now on, which would say online.
	"setPresence": func(ctx context.Context, u *user, a *args) (any, error) {
		u.SyncPresence = a.Presence
		return nil, u.SetPresence(ctx, mautrix.ReqPresence{Presence: a.Presence, StatusMsg: a.Status})
	},

	"readUpTo": func(_ context.Context, u *user, a *args) (any, error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.held.receipts[receiptKey{string(a.Room), a.User, a.Type, string(a.Thread)}], nil
	},
	"typing": func(_ context.Context, u *user, a *args) (any, error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		return slices.Clone(u.held.typing[a.Room]), nil
	},
	"data": func(_ context.Context, u *user, a *args) (any, error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.held.data[dataKey{string(a.Room), a.Type}], nil
	},
	"muted": func(_ context.Context, u *user, a *args) (any, error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		var content pushrules.EventContent
		if raw := u.held.data[dataKey{"", event.AccountDataPushRules.Type}]; raw != nil {
			if err := json.Unmarshal(raw, &content); err != nil {
				return nil, err
			}
		}
		if content.Ruleset == nil {
			return false, nil
		}
		rule, ok := content.Ruleset.Room.Map[string(a.Room)]
		return ok && rule.Enabled, nil
	},
	"presence": func(_ context.Context, u *user, a *args) (any, error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.held.presence[id.UserID(a.User)], nil
	},
	"unread": func(_ context.Context, u *user, a *args) (any, error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.held.unread[a.Room], nil
	},
}
