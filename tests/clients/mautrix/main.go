// The program mautrix is users of mautrix-go, told what to do by the Go test on
// standard input and telling it what they see on standard output, one JSON
// object per line; see ../program_test.go. Its argument is the URL of the
// homeserver.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// user is a user with a device.
type user struct {
	*mautrix.Client
	name string // in the test
	stop context.CancelFunc

	mu       sync.Mutex
	timeline map[id.RoomID][]shown
	gaps     map[id.RoomID][]gap
	held     held
}

// gap is what a limited timeline left out: the events from a token back to
// another, which belong before the event at an index.
type gap struct {
	from, to string
	at       int
}

// shown is an event as an app on mautrix-go would show it.
type shown struct {
	ID       id.EventID `json:"event_id"`
	Type     string     `json:"type"`
	Body     any        `json:"body"`
	Redacted bool       `json:"redacted"`
}

// args are what the test says about an act.
type args struct {
	ID       int             `json:"id"`
	As       string          `json:"as"`
	Act      string          `json:"act"`
	Name     string          `json:"name"`
	Password string          `json:"password"`
	Next     string          `json:"next"`
	Room     id.RoomID       `json:"room"`
	User     string          `json:"user"`
	Users    []id.UserID     `json:"users"`
	Event    id.EventID      `json:"event"`
	Thread   id.EventID      `json:"thread"`
	Relation string          `json:"relation"`
	Reason   string          `json:"reason"`
	Body     string          `json:"body"`
	Txn      string          `json:"txn"`
	Type     string          `json:"type"`
	Key      string          `json:"key"`
	Tag      event.RoomTag   `json:"tag"`
	Order    json.Number     `json:"order"`
	On       bool            `json:"on"`
	Alias    id.RoomAlias    `json:"alias"`
	Term     string          `json:"term"`
	Version  string          `json:"version"`
	TS       int64           `json:"ts"`
	Dir      string          `json:"dir"`
	Device   id.DeviceID     `json:"device"`
	Presence event.Presence  `json:"presence"`
	Status   string          `json:"status"`
	Limit    int             `json:"limit"`
	Content  json.RawMessage `json:"content"`
}

type acts map[string]func(ctx context.Context, u *user, a *args) (any, error)

// first are the first steps of users. Register and login make the user.
var first = acts{
	"register": func(ctx context.Context, u *user, a *args) (any, error) {
		resp, err := u.RegisterDummy(ctx, &mautrix.ReqRegister[any]{Username: a.User, Password: a.Password, InitialDeviceDisplayName: "mautrix-go"})
		if err != nil {
			return nil, err
		}
		u.UserID, u.DeviceID, u.AccessToken = resp.UserID, resp.DeviceID, resp.AccessToken
		return resp, nil
	},
	"login": func(ctx context.Context, u *user, a *args) (any, error) {
		return u.Login(ctx, &mautrix.ReqLogin{
			Type:             mautrix.AuthTypePassword,
			Identifier:       mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: a.User},
			Password:         a.Password,
			StoreCredentials: true,
		})
	},

	"logout": func(ctx context.Context, u *user, _ *args) (any, error) { return u.Logout(ctx) },
	"whoami": func(ctx context.Context, u *user, _ *args) (any, error) { return u.Whoami(ctx) },

	// sync answers when the first /sync has been processed. After stop it goes on
	// from where it was. The limit is of events in a timeline.
	"sync": func(ctx context.Context, u *user, a *args) (any, error) {
		if err := u.Store.SaveFilterID(ctx, u.UserID, ""); err != nil {
			return nil, err
		}
		ctx, u.stop = context.WithCancel(ctx)
		first := make(chan struct{})
		s := u.Syncer.(*syncer)
		s.FilterJSON = &mautrix.Filter{Room: &mautrix.RoomFilter{Timeline: &mautrix.FilterPart{Limit: a.Limit, UnreadThreadNotifications: true}}}
		said := sync.OnceFunc(func() { close(first) })
		s.processed = func() {
			said()
			say(map[string]any{"as": u.name, "stirred": true})
		}
		failed := make(chan error, 1)
		go func() { failed <- u.SyncWithContext(ctx) }()
		select {
		case <-first:
			return nil, nil
		case err := <-failed:
			return nil, err
		}
	},
	"stop": func(_ context.Context, u *user, _ *args) (any, error) {
		u.stop()
		return nil, nil
	},

	"createRoom": func(ctx context.Context, u *user, a *args) (any, error) {
		req := new(mautrix.ReqCreateRoom)
		if err := json.Unmarshal(a.Content, req); err != nil {
			return nil, err
		}
		return u.CreateRoom(ctx, req)
	},
	"invite": func(ctx context.Context, u *user, a *args) (any, error) {
		return u.InviteUser(ctx, a.Room, &mautrix.ReqInviteUser{UserID: id.UserID(a.User)})
	},
	"join":  func(ctx context.Context, u *user, a *args) (any, error) { return u.JoinRoomByID(ctx, a.Room) },
	"leave": func(ctx context.Context, u *user, a *args) (any, error) { return u.LeaveRoom(ctx, a.Room) },
	"kick": func(ctx context.Context, u *user, a *args) (any, error) {
		return u.KickUser(ctx, a.Room, &mautrix.ReqKickUser{UserID: id.UserID(a.User), Reason: a.Reason})
	},
	"ban": func(ctx context.Context, u *user, a *args) (any, error) {
		return u.BanUser(ctx, a.Room, &mautrix.ReqBanUser{UserID: id.UserID(a.User), Reason: a.Reason})
	},
	"unban": func(ctx context.Context, u *user, a *args) (any, error) {
		return u.UnbanUser(ctx, a.Room, &mautrix.ReqUnbanUser{UserID: id.UserID(a.User)})
	},

	"send": func(ctx context.Context, u *user, a *args) (any, error) {
		content := &event.MessageEventContent{MsgType: event.MsgText, Body: a.Body}
		return u.SendMessageEvent(ctx, a.Room, event.EventMessage, content, mautrix.ReqSendEvent{TransactionID: a.Txn})
	},
	"redact": func(ctx context.Context, u *user, a *args) (any, error) {
		return u.RedactEvent(ctx, a.Room, a.Event, mautrix.ReqRedact{Reason: a.Reason})
	},
	"setName": func(ctx context.Context, u *user, a *args) (any, error) { return nil, u.SetDisplayName(ctx, a.Name) },

	// fill reads what limited timelines left out.
	"fill": func(ctx context.Context, u *user, a *args) (any, error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		for _, g := range slices.Backward(u.gaps[a.Room]) {
			for g.from != "" {
				resp, err := u.Messages(ctx, a.Room, g.from, g.to, mautrix.DirectionBackward, nil, 7)
				if err != nil {
					return nil, err
				}
				for _, evt := range resp.Chunk {
					u.timeline[a.Room] = slices.Insert(u.timeline[a.Room], g.at, show(evt))
				}
				g.from = resp.End
			}
		}
		delete(u.gaps, a.Room)
		return nil, nil
	},

	// The rest is what this program and mautrix-go made of all that they have seen.

	"timeline": func(_ context.Context, u *user, a *args) (any, error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		return slices.Clone(u.timeline[a.Room]), nil
	},
	"members": func(ctx context.Context, u *user, a *args) (any, error) {
		members, err := u.StateStore.GetAllMembers(ctx, a.Room)
		if err != nil {
			return nil, err
		}
		var list []map[string]any
		for userID, m := range members {
			list = append(list, map[string]any{"user_id": userID, "membership": m.Membership, "name": m.Displayname})
		}
		return list, nil
	},
}

func newUser(baseURL, name string) (*user, error) {
	client, err := mautrix.NewClient(baseURL, "", "")
	if err != nil {
		return nil, err
	}
	s := &syncer{DefaultSyncer: mautrix.NewDefaultSyncer()}
	client.Syncer, client.StateStore = s, mautrix.NewMemoryStateStore()
	u := &user{Client: client, name: name, timeline: map[id.RoomID][]shown{}, gaps: map[id.RoomID][]gap{}, held: newHeld()}
	s.OnSync(u.mind)
	s.OnEvent(client.StateStoreSyncHandler)
	s.OnEvent(u.see)
	return u, nil
}

// mind remembers the gaps of a response.
func (u *user) mind(_ context.Context, resp *mautrix.RespSync, since string) bool {
	u.count(resp)
	u.mu.Lock()
	defer u.mu.Unlock()
	for room, data := range resp.Rooms.Join {
		if data.Timeline.Limited {
			u.gaps[room] = append(u.gaps[room], gap{data.Timeline.PrevBatch, since, len(u.timeline[room])})
		}
	}
	return true
}

func show(evt *event.Event) shown {
	return shown{evt.ID, evt.Type.Type, evt.Content.Raw["body"], evt.Unsigned.RedactedBecause != nil}
}

// see keeps what an app would show, and tells the test.
func (u *user) see(_ context.Context, evt *event.Event) {
	u.keep(evt)
	if evt.RoomID == "" || evt.Type.Class != event.StateEventType && evt.Type.Class != event.MessageEventType {
		return
	}
	if evt.Mautrix.EventSource&event.SourceTimeline != 0 {
		u.mu.Lock()
		list := u.timeline[evt.RoomID]
		if i := slices.IndexFunc(list, func(s shown) bool { return s.ID == evt.Redacts }); i >= 0 {
			list[i].Body, list[i].Redacted = nil, true
		}
		u.timeline[evt.RoomID] = append(list, show(evt))
		u.mu.Unlock()
	}
	say(map[string]any{"as": u.name, "saw": evt})
}

// syncer says when a response has been processed, and does not wait for 10 s
// when the server is away.
type syncer struct {
	*mautrix.DefaultSyncer
	processed func()
}

func (s *syncer) ProcessResponse(ctx context.Context, res *mautrix.RespSync, since string) error {
	err := s.DefaultSyncer.ProcessResponse(ctx, res, since)
	s.processed()
	return err
}

func (s *syncer) OnFailedSync(_ *mautrix.RespSync, err error) (time.Duration, error) {
	if errors.Is(err, mautrix.MUnknownToken) {
		return 0, err
	}
	return 100 * time.Millisecond, nil
}

var saying sync.Mutex

func say(what any) {
	b, err := json.Marshal(what)
	if err != nil {
		fatal(err)
	}
	saying.Lock()
	defer saying.Unlock()
	_, _ = os.Stdout.Write(append(b, '\n'))
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	users := map[string]*user{}
	can := acts{}
	for _, group := range []acts{first, talking, marking, finding, belonging} {
		maps.Copy(can, group)
	}
	for in := json.NewDecoder(bufio.NewReader(os.Stdin)); ; {
		a := new(args)
		if err := in.Decode(a); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			fatal(err)
		}
		u := users[a.As]
		if u == nil || a.Act == "register" || a.Act == "login" {
			var err error
			if u, err = newUser(os.Args[1], a.As); err != nil {
				fatal(err)
			}
			users[a.As] = u
		}
		go func() {
			result, err := can[a.Act](context.Background(), u, a)
			if err != nil {
				say(map[string]any{"id": a.ID, "error": explain(err)})
				return
			}
			say(map[string]any{"id": a.ID, "result": result})
		}()
	}
}

func explain(err error) map[string]any {
	e := map[string]any{"message": err.Error()}
	var herr mautrix.HTTPError
	if errors.As(err, &herr) && herr.RespError != nil {
		e["errcode"], e["status"] = herr.RespError.ErrCode, herr.RespError.StatusCode
	}
	return e
}
