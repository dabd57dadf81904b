package rooms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// The types of receipts. FullyRead is a marker and no receipt, but set the same
// way.
const (
	Read        = "m.read"
	ReadPrivate = "m.read.private"
	FullyRead   = "m.fully_read"
)

// Receipt says how far a user has read.
type Receipt struct {
	Type, EventID string
	// Thread is the root of a thread, or main; empty is the room regardless of
	// threads.
	Thread string
}

// maxEventID is the length of the longest event id, in bytes.
const maxEventID = 255

// SetsReceipts is what SetReceipts uses.
var SetsReceipts = grant.Of(timeline.Reads, accounts.Writes, grant.WriteTable("rooms"), grant.SendTo("work"))

// SetReceipts records how far the user has read a room. A receipt only moves
// forward: one that is behind what there is does nothing. All are checked before
// any is recorded.
//
// The row comes first, then those are told who do not have it, so a request that
// is repeated after a kill tells them.
//
// https://spec.matrix.org/v1.19/client-server-api/#receipts
func (s *Service) SetReceipts(ctx context.Context, user, room string, list []Receipt) error {
	c, err := s.Log.Cursor(ctx, user, room)
	if err != nil {
		return err
	}
	if c.Membership != "join" {
		return mxerr.Forbidden("You are not in the room %s.", room)
	}
	ids := make([]string, len(list))
	for i, r := range list {
		if ids[i] = r.EventID; !strings.HasPrefix(r.EventID, "$") || len(r.EventID) > maxEventID {
			return mxerr.InvalidParam("%s needs the id of an event.", r.Type)
		}
	}
	rows, err := s.Timeline.EventsByID(ctx, room, ids)
	if err != nil {
		return err
	}
	for _, r := range list {
		if rows[r.EventID] == nil {
			return mxerr.NotFound("There is no event %s in this room.", r.EventID)
		}
		if r.Thread == "" {
			continue
		}
		shown, err := s.Timeline.ThreadShows(ctx, room, r.Thread, rows[r.EventID])
		if err != nil {
			return err
		}
		if !shown {
			return mxerr.InvalidParam("The event %s is not in the thread %s.", r.EventID, r.Thread)
		}
	}
	for _, r := range list {
		if r.Type == FullyRead {
			err = s.setFullyRead(ctx, user, room, rows[r.EventID])
		} else {
			err = s.setReceipt(ctx, user, room, r, rows[r.EventID].Pos)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) setReceipt(ctx context.Context, user, room string, r Receipt, pos timeline.Pos) error {
	e, p, ts := "e", "po", "ts"
	if r.Type == ReadPrivate {
		e, p, ts = "pe", "ppo", "pts"
	}
	now := clock.Millis(s.Clock.Now())
	w := store.Update(store.Rooms, timeline.ReceiptKey(room, user, r.Thread)).
		Set("u", user).Set(e, r.EventID).Set(p, int64(pos)).Set(ts, now).
		If(store.AnyOf(store.Absent(p), store.Less(p, int64(pos))))
	if r.Thread != "" {
		w = w.Set("t", r.Thread)
	}
	_, err := s.DB.Write(ctx, w)
	if f := store.Failed(err); f != nil {
		if f.Failed[0].Str(e) != r.EventID {
			return nil // it is behind
		}
		now = f.Failed[0].Int(ts)
	} else if err != nil {
		return fmt.Errorf("set receipt of %s in %s: %w", user, room, err)
	}
	if r.Type == Read {
		if err := s.tellReceipt(ctx, room, timeline.Receipts{User: user, Thread: r.Thread, EventID: r.EventID, Pos: pos, TS: now}); err != nil {
			return err
		}
	}
	changed, err := s.Timeline.Read(ctx, user, room, r.Thread, pos)
	if err != nil {
		return err
	}
	if changed {
		if err := s.badge(ctx, user); err != nil {
			return err
		}
	}
	_, err = s.Log.Append(ctx, user, userlog.Entry{Kind: userlog.KindReceipt, Room: room, Type: r.Thread})
	return err
}

// badge lets the user's pushers send that there is less to read.
func (s *Service) badge(ctx context.Context, user string) error {
	h, err := s.Log.Head(ctx, user)
	if err != nil || h.Pushers == 0 {
		return err
	}
	return s.later(ctx, Task{Kind: PushTask, Users: []string{user}, Badge: true}, 0)
}

// setFullyRead moves the user's marker, forward only.
//
// https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers
func (s *Service) setFullyRead(ctx context.Context, user, room string, row *timeline.EventRow) error {
	type marker struct {
		EventID string `json:"event_id"`
	}
	err := s.Accounts.UpdateAccountData(ctx, user, room, FullyRead, func(content json.RawMessage) (json.RawMessage, error) {
		var was marker
		if content != nil {
			_ = json.Unmarshal(content, &was) // nobody else writes it
		}
		if was.EventID != "" && was.EventID != row.ID {
			rows, err := s.Timeline.EventsByID(ctx, room, []string{was.EventID})
			if err != nil {
				return nil, err
			}
			if old := rows[was.EventID]; old != nil && old.Pos > row.Pos {
				return nil, errBehind
			}
		}
		return json.Marshal(marker{row.ID})
	})
	if errors.Is(err, errBehind) {
		return nil
	}
	return err
}

// errBehind ends an update that would move a marker back.
var errBehind = errors.New("the marker is ahead")
