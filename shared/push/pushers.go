package push

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// Rows of pushers, in the users table. The hash is of app id and pushkey.
//
//   - U#user / PUSH#hash: a Pusher, at most 16 KB, put and deleted by its user's
//     devices, and by another user who takes the pushkey over. If it is lost, the
//     app sets it again when it starts.
//   - U#user / SENT#hash: a Sent, ≤ 1 KB: how far what there is to send was sent by
//     the pusher; written by the one worker at a time that sends it. If it is lost,
//     what was logged since the pusher was set is sent once more.
//   - PK#hash / OWNERS {o, v}: the users who have such a pusher, at most maxOwners,
//     changed in the same transaction under its version. It may name users who
//     have none any more. If it is lost, a pushkey that was taken over goes on
//     notifying its former user's device too.
//
// A pusher belongs to the session that set it: when its device logs out, or logs in
// anew, the pusher counts no more, and it is deleted when another is set.
const (
	pusherPre = "PUSH#"
	sentPre   = "SENT#"
	ownersPre = "PK#"
	ownersRow = "OWNERS"
)

// IsPusher reports whether the key, of the users table, is that of a user's pusher.
func IsPusher(k store.Key) bool {
	return strings.HasPrefix(k.Sort, pusherPre) && k.Part == userlog.Part(userlog.UserOfPart(k.Part))
}

// The bounds of pushers.
const (
	maxPushers = 100 // of a user
	maxOwners  = 40  // of a pushkey
)

// Pusher is where notifications of a user are sent.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers
type Pusher struct {
	PushKey    string          `json:"pushkey" db:"k"`
	Kind       string          `json:"kind" db:"ki"`
	AppID      string          `json:"app_id" db:"a"`
	AppName    string          `json:"app_display_name" db:"an"`
	DeviceName string          `json:"device_display_name" db:"dn"`
	ProfileTag string          `json:"profile_tag,omitempty" db:"pt,omitempty"`
	Lang       string          `json:"lang" db:"l"`
	Data       json.RawMessage `json:"data" db:"-"`

	// Device and Session set the pusher.
	Device  string `json:"-" db:"dev"`
	Session string `json:"-" db:"se"`
	RawData string `json:"-" db:"d"`
	// Since is the last entry of the user's log when the pusher was set, and SetAt when
	// that was, in milliseconds. What was logged before it does not send.
	Since int64 `json:"-" db:"n"`
	SetAt int64 `json:"-" db:"at"`
}

// SetsPushers is what SetPusher and DeletePusher use.
var SetsPushers = grant.Of(grant.ReadTable("users"), grant.WriteTable("users"))

func pusherID(appID, pushKey string) string {
	sum := sha256.Sum256([]byte(appID + "\x00" + pushKey))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func pusherKey(user, id string) store.Key {
	return store.Key{Part: userlog.Part(user), Sort: pusherPre + id}
}

func ownersKey(id string) store.Key { return store.Key{Part: ownersPre + id, Sort: ownersRow} }

// Pushers returns the user's pushers.
func (s *Service) Pushers(ctx context.Context, user string) ([]Pusher, error) {
	live, _, err := s.pushers(ctx, user)
	return live, err
}

// pushers returns the user's pushers, and those whose session is over.
func (s *Service) pushers(ctx context.Context, user string) (live, stale []Pusher, err error) {
	sessions, err := s.Accounts.SessionNames(ctx, user)
	if err != nil {
		return nil, nil, err
	}
	q := store.Query{Table: store.Users, Part: userlog.Part(user), Consistency: store.Consistent}.Prefix(pusherPre)
	live = []Pusher{}
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, nil, fmt.Errorf("read pushers of %s: %w", user, err)
		}
		var p Pusher
		if err := store.Decode(it, &p); err != nil {
			return nil, nil, err
		}
		p.Data = json.RawMessage(p.RawData)
		if p.Session != "" && sessions[p.Device] == p.Session {
			live = append(live, p)
		} else {
			stale = append(stale, p)
		}
	}
	slices.SortFunc(live, func(a, b Pusher) int {
		return cmp.Or(strings.Compare(a.AppID, b.AppID), strings.Compare(a.PushKey, b.PushKey))
	})
	return live, stale, nil
}

// owners is the OWNERS row.
type owners struct {
	Users   []string `db:"o"`
	Version int64    `db:"v"`
}

func (s *Service) owners(ctx context.Context, id string) (o owners, err error) {
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Users, Key: ownersKey(id)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return o, nil
	}
	if err != nil {
		return o, fmt.Errorf("read owners of a pushkey: %w", err)
	}
	return o, store.Decode(it, &o)
}

// write replaces the owners, if nobody has meanwhile.
func (o owners) write(id string, users []string) store.Write {
	w := store.Put(store.Users, ownersKey(id), store.Encode(owners{users, o.Version + 1}))
	if o.Version == 0 {
		return w.If(store.NotExists())
	}
	return w.If(store.Equal("v", o.Version))
}

// SetPusher adds or replaces the user's pusher of the app and pushkey, for the
// session. Unless it is to be added to those of others, those are deleted: the
// device has another user now.
func (s *Service) SetPusher(ctx context.Context, c accounts.Session, p Pusher, add bool) error {
	if err := p.check(s.AnyGateway); err != nil {
		return err
	}
	live, stale, err := s.pushers(ctx, c.UserID)
	if err != nil {
		return err
	}
	same := func(q Pusher) bool { return q.AppID == p.AppID && q.PushKey == p.PushKey }
	if len(live) >= maxPushers && !slices.ContainsFunc(live, same) {
		return mxerr.Forbidden("You may have at most %d pushers.", maxPushers)
	}
	for _, old := range stale {
		if same(old) {
			continue // it is replaced
		}
		w := store.Delete(store.Users, pusherKey(c.UserID, pusherID(old.AppID, old.PushKey))).If(store.Equal("se", old.Session))
		if _, err := s.DB.Write(ctx, w); err != nil && store.Failed(err) == nil {
			return fmt.Errorf("delete pusher of %s: %w", c.UserID, err)
		}
	}
	h, err := s.Log.Head(ctx, c.UserID)
	if err != nil {
		return err
	}
	now := clock.Millis(s.Clock.Now())
	p.Device, p.Session, p.RawData, p.Since, p.SetAt = c.DeviceID, c.Name(), string(p.Data), h.N, now
	id := pusherID(p.AppID, p.PushKey)
	err = s.changeOwners(ctx, id, func(o owners) ([]store.Write, error) {
		users := []string{c.UserID}
		ws := []store.Write{
			store.Put(store.Users, pusherKey(c.UserID, id), store.Encode(p)),
			userlog.PusherSet(c.UserID, now),
		}
		for _, other := range o.Users {
			switch {
			case other == c.UserID:
			case add:
				users = append(users, other)
			default:
				ws = append(ws, deletes(other, id)...)
			}
		}
		if len(users) > maxOwners {
			return nil, mxerr.Forbidden("At most %d users may share a pushkey.", maxOwners)
		}
		return append(ws, o.write(id, users)), nil
	})
	if err != nil {
		return err
	}
	// What happens in rooms is for the user from now on. A request that set the first
	// pusher may have died before it said so, so whoever repeats it says it too.
	return s.Log.Woke(ctx, c.UserID)
}

// DeletePusher deletes the user's pusher of the app and pushkey, if there is one.
func (s *Service) DeletePusher(ctx context.Context, user, appID, pushKey string) error {
	if err := checkPushKey(appID, pushKey); err != nil {
		return err
	}
	id := pusherID(appID, pushKey)
	return s.changeOwners(ctx, id, func(o owners) ([]store.Write, error) {
		if !slices.Contains(o.Users, user) {
			return nil, nil
		}
		users := slices.DeleteFunc(slices.Clone(o.Users), func(u string) bool { return u == user })
		return append(deletes(user, id), o.write(id, users)), nil
	})
}

// deletes takes a pusher away, and what it has sent.
func deletes(user, id string) []store.Write {
	return []store.Write{store.Delete(store.Users, pusherKey(user, id)), store.Delete(store.Users, sentKeyOf(user, id))}
}

// maxTries bounds how often a transaction is tried that others are faster with.
const maxTries = 10

func (s *Service) changeOwners(ctx context.Context, id string, change func(owners) ([]store.Write, error)) error {
	var err error
	for range maxTries {
		var o owners
		if o, err = s.owners(ctx, id); err != nil {
			return err
		}
		ws, refused := change(o)
		if refused != nil || len(ws) == 0 {
			return refused
		}
		err = s.DB.Transact(ctx, ws...)
		if err == nil {
			return nil
		}
		if store.Failed(err) == nil && !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	return fmt.Errorf("write pusher: %w", err)
}
