package timeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

const typePresence = "m.presence"

// PresenceContent is the content of an m.presence event. While it says
// currently_active nothing more is told, however much the user does.
//
// https://spec.matrix.org/v1.19/client-server-api/#mpresence
type PresenceContent struct {
	Presence        string `json:"presence"`
	LastActiveAgo   *int64 `json:"last_active_ago,omitempty"`
	CurrentlyActive *bool  `json:"currently_active,omitempty"`
	StatusMsg       string `json:"status_msg,omitempty"`
}

type presenceEvent struct {
	Type    string           `json:"type"`
	Sender  string           `json:"sender"`
	Content *PresenceContent `json:"content"`
}

func (s *Service) presenceContent(r *presenceRow) *PresenceContent {
	now := s.Clock.Now()
	c := &PresenceContent{Presence: r.state(now), StatusMsg: r.Status}
	if r.Active != 0 {
		ago := max(clock.Millis(now)-r.Active, 0)
		c.LastActiveAgo = &ago
	}
	if c.Presence == Online {
		active := true // for idleAfter, when another state follows
		c.CurrentlyActive = &active
	}
	return c
}

// Presence tells a user of the presence of another one, who shares a room with the
// user. Without presence everybody is offline.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus
func (s *Service) Presence(ctx context.Context, viewer, user string) (*PresenceContent, error) {
	if !id.ValidUser(user) {
		return nil, mxerr.InvalidParam("%q is not a user id.", user)
	}
	if !s.presence {
		return &PresenceContent{Presence: Offline}, nil
	}
	if user != viewer {
		shared, err := s.MutualRooms(ctx, viewer, user)
		if err != nil {
			return nil, err
		}
		if len(shared) == 0 {
			return nil, mxerr.Forbidden("You share no room with %s.", user)
		}
	}
	it, err := s.presenceOf(ctx, user)
	if err != nil {
		return nil, err
	}
	row, err := decodePresence(it)
	if err != nil {
		return nil, err
	}
	return s.presenceContent(&row), nil
}

// people are those whose presence an answer tells.
type people struct {
	// changed are those whose presence changed, and met those whom the device learns
	// of, who are told of unless they are offline. With them is a room that the user
	// shared with them, or "" if that is known to be so.
	changed, met map[string]string
	// anew says that the device may know nothing of anybody, or what is not true any
	// more.
	anew bool
}

// change notes what an entry of the log tells.
func (p *people) change(e userlog.Entry) {
	if p.changed == nil {
		p.changed = map[string]string{}
	}
	p.changed[e.Type] = e.Room
}

// meet notes that the device learns of users, in a room that is to be looked at
// again or "".
func (y *syncing) meet(room string, users []string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.people.met == nil {
		y.people.met = map[string]string{}
	}
	for _, u := range users {
		if _, there := y.people.met[u]; !there && u != y.User && len(y.people.met) < presenceAudience {
			y.people.met[u] = room
		}
	}
}

// meetIn notes whom the device learns of in a room: all of a small one that is new
// to it, and otherwise those who joined.
func (y *syncing) meetIn(ctx context.Context, room string, fresh bool, rows []*EventRow) error {
	switch {
	case !y.wantsPresence() || y.people.anew:
		return nil
	case fresh:
		users, err := y.s.fewMembers(ctx, room)
		y.meet("", users)
		return err
	}
	for _, r := range rows {
		e, err := r.Event()
		if err != nil {
			return err
		}
		if e.Type != typeMember || e.StateKey == nil || *e.StateKey == y.User || id.Server(*e.StateKey) != y.s.ServerName {
			continue
		}
		if m, err := r.Member(); err != nil {
			return err
		} else if m.Membership == "join" {
			y.meet(room, []string{m.StateKey})
		}
	}
	return nil
}

func (y *syncing) wantsPresence() bool {
	f := &y.filter.Presence
	return y.s.presence && f.wantsType(typePresence) && (f.Limit == nil || *f.Limit > 0)
}

// presence returns the presence of those of whom the answer tells. Where nothing
// changed it reads nothing.
func (y *syncing) presence(ctx context.Context) (*Events, error) {
	if !y.wantsPresence() {
		return nil, nil
	}
	p := &y.people
	if p.anew {
		var err error
		if y.cursors == nil {
			if y.cursors, err = y.s.Log.Cursors(ctx, y.User); err != nil {
				return nil, err
			}
		}
		if p.met, err = y.s.audience(ctx, y.User, y.cursors); err != nil {
			return nil, err
		}
		p.met[y.User] = ""
		for u := range p.met {
			p.met[u] = "" // it was just read
		}
		if y.req.Since != "" {
			p.changed, p.met = p.met, nil
		}
	}
	for user := range p.changed {
		delete(p.met, user)
	}
	if len(p.changed)+len(p.met) == 0 {
		return nil, nil
	}
	shared, err := y.stillShared(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := y.s.presenceRows(ctx, shared)
	if err != nil {
		return nil, err
	}
	f := &y.filter.Presence
	slices.SortStableFunc(shared, func(a, b string) int { return cmp.Compare(rows[b].Active, rows[a].Active) })
	events := Events{}
	for _, user := range shared {
		row, there := rows[user]
		_, changed := p.changed[user]
		if !there || !f.wants(typePresence, user) || f.Limit != nil && len(events.Events) == *f.Limit {
			continue
		}
		if user != y.User {
			if ignored, err := y.ignores.has(ctx, user); err != nil {
				return nil, err
			} else if ignored {
				continue
			}
		}
		if c := y.s.presenceContent(&row); changed || c.Presence != Offline {
			events.Events = append(events.Events, encode(presenceEvent{typePresence, user, c}))
		}
	}
	if len(events.Events) == 0 {
		return nil, nil
	}
	return &events, nil
}

// stillShared returns those of the people who share a room with the user now, in
// order: most often it is the one that is noted with them.
func (y *syncing) stillShared(ctx context.Context) ([]string, error) {
	var all []string
	rooms := map[string]string{}
	var refs []store.Ref
	inRoom := map[string]bool{}
	for _, people := range []map[string]string{y.people.changed, y.people.met} {
		for user, room := range people {
			all = append(all, user)
			if rooms[user] = room; room == "" {
				continue
			}
			refs = append(refs, store.Ref{Table: store.Rooms, Key: MemberKey(room, Local, "join", user)})
			if !inRoom[room] {
				inRoom[room] = true
				refs = append(refs, store.Ref{Table: store.Rooms, Key: MemberKey(room, Local, "join", y.User)})
			}
		}
	}
	slices.Sort(all)
	if len(refs) == 0 {
		return all, nil
	}
	items, err := store.GetAll(ctx, y.s.DB, refs, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	member := map[store.Key]bool{}
	for _, it := range items {
		member[it.Key] = true
	}
	var shared []string
	for _, user := range all {
		room := rooms[user]
		if room == "" || member[MemberKey(room, Local, "join", user)] && member[MemberKey(room, Local, "join", y.User)] {
			shared = append(shared, user)
			continue
		}
		others, err := y.s.MutualRooms(ctx, y.User, user)
		if err != nil {
			return nil, err
		}
		if len(others) > 0 {
			shared = append(shared, user)
		}
	}
	return shared, nil
}

func (s *Service) presenceRows(ctx context.Context, users []string) (map[string]presenceRow, error) {
	refs := make([]store.Ref, len(users))
	for i, user := range users {
		refs[i] = store.Ref{Table: store.Users, Key: userlog.PresenceKey(user)}
	}
	items, err := store.GetAll(ctx, s.DB, refs, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read presence: %w", err)
	}
	rows := make(map[string]presenceRow, len(items))
	for _, it := range items {
		if rows[strings.TrimPrefix(it.Key.Part, userlog.Part(""))], err = decodePresence(it); err != nil {
			return nil, err
		}
	}
	return rows, nil
}
