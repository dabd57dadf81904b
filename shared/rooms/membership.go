package rooms

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/mxerr"
)

// Membership is a request to change somebody's membership.
type Membership struct {
	Sender   string
	Target   string
	Reason   string
	IsDirect bool
}

func memberKey(user string) auth.Key { return auth.Key{Type: typeMember, StateKey: user} }

// memberOf returns a user's membership in the state of the batch, "" if none.
func (b *batch) memberOf(ctx context.Context, user string) (string, error) {
	state, err := b.state(ctx, []auth.Key{memberKey(user)})
	if err != nil {
		return "", err
	}
	if view := state[memberKey(user)]; view != nil {
		return view.Content.Membership, nil
	}
	return "", nil
}

// memberContent is the content of a membership event, with the user's profile
// where the membership shows it.
func (s *Service) memberContent(ctx context.Context, user, membership, reason string) (json.RawMessage, error) {
	content := map[string]any{"membership": membership}
	if reason != "" {
		content["reason"] = reason
	}
	if (membership == "join" || membership == "invite" || membership == "knock") && s.isLocal(user) {
		p, err := s.Accounts.Profile(ctx, user)
		if err != nil && !mxerr.Is(err, "M_NOT_FOUND") {
			return nil, err
		}
		for _, field := range []string{accounts.FieldDisplayName, accounts.FieldAvatarURL} {
			if v, ok := p[field]; ok {
				content[field] = v
			}
		}
	}
	return raw(content), nil
}

// withKeys adds the keys of a request's body to the content of a join.
func withKeys(content, body json.RawMessage) (json.RawMessage, error) {
	if len(body) == 0 {
		return content, nil
	}
	var c, keys map[string]json.RawMessage
	if err := json.Unmarshal(content, &c); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &keys); err != nil {
		return nil, mxerr.BadJSON("The body must be a JSON object.")
	}
	for k, v := range keys {
		switch k {
		case "membership", "reason", "third_party_signed", "third_party_invite", keyAuthorised:
		default:
			c[k] = v
		}
	}
	return raw(c), nil
}

// change makes one membership event if check allows it; check gets the
// target's present membership, and done says that there is nothing to do. What its
// sender said already is not said again, so that a repeated request changes nothing.
func (s *Service) change(ctx context.Context, room, membership string, m Membership, content json.RawMessage, check func(was string) (done bool, err error)) error {
	sent, err := s.append(ctx, room, m.Sender, func(ctx context.Context, b *batch) error {
		was, err := b.memberOf(ctx, m.Target)
		if err != nil {
			return err
		}
		if done, err := check(was); err != nil || done {
			return err
		}
		d := Draft{Type: typeMember, Sender: m.Sender, StateKey: &m.Target, Content: content}
		var same *Sent
		if was == membership {
			if same, err = b.said(ctx, d); err != nil {
				return err
			}
		}
		if err := b.add(ctx, d); err != nil {
			return err // also for what the sender might not say again
		}
		if same != nil {
			b.sent = nil
		}
		return nil
	})
	if err != nil || len(sent) > 0 || !s.isLocal(m.Target) {
		return hide(err, room)
	}
	// It was done before, perhaps by a request that died before it told the log.
	return s.Log.Moved(ctx, m.Target, room, 0, s.Timeline.Unread(room))
}

// Join lets a user join a room. To join where one is already does nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias
func (s *Service) Join(ctx context.Context, user, room, reason string) error {
	return s.JoinWith(ctx, user, room, reason, nil)
}

// JoinWith is Join with the whole body of the request: keys that mean nothing to the
// server become part of the membership event. The specification does not have that;
// deployed servers do.
func (s *Service) JoinWith(ctx context.Context, user, room, reason string, body json.RawMessage) error {
	content, err := s.memberContent(ctx, user, "join", reason)
	if err != nil {
		return err
	}
	if content, err = withKeys(content, body); err != nil {
		return err
	}
	sent, err := s.append(ctx, room, user, func(ctx context.Context, b *batch) error {
		was, err := b.memberOf(ctx, user)
		if err != nil || was == "join" {
			return err
		}
		d := Draft{Type: typeMember, Sender: user, StateKey: &user}
		if d.Content, err = b.authoriseJoin(ctx, user, content); err != nil {
			return err
		}
		return b.add(ctx, d)
	})
	if err != nil || len(sent) > 0 {
		return err
	}
	// Already joined, perhaps by a request that died before it told the log.
	return s.Log.Moved(ctx, user, room, 0, s.Timeline.Unread(room))
}

// Invite invites a user.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite
func (s *Service) Invite(ctx context.Context, room string, m Membership) error {
	if err := s.checkInvitee(ctx, m.Sender, m.Target); err != nil {
		return err
	}
	content, err := s.memberContent(ctx, m.Target, "invite", m.Reason)
	if err != nil {
		return err
	}
	if m.IsDirect {
		var c map[string]any
		if err := json.Unmarshal(content, &c); err != nil {
			return err
		}
		c["is_direct"] = true
		content = raw(c)
	}
	return s.change(ctx, room, "invite", m, content, func(was string) (bool, error) {
		switch was {
		case "join":
			return false, mxerr.Forbidden("%s is already in the room.", m.Target)
		case "ban":
			return false, mxerr.Forbidden("%s is banned from the room.", m.Target)
		}
		return false, nil
	})
}

// checkInvitee refuses users who cannot be told of an invite, or do not want it.
func (s *Service) checkInvitee(ctx context.Context, sender, user string) error {
	if !id.ValidUser(user) {
		return mxerr.InvalidParam("%q is not a user id.", user)
	}
	if !s.isLocal(user) {
		return mxerr.Forbidden("%s is on another server, and this server does not speak to other servers yet.", user)
	}
	ok, err := s.Accounts.Exists(ctx, user)
	if err != nil {
		return err
	}
	if !ok {
		return mxerr.NotFound("There is no user %s on this server.", user)
	}
	rules, err := s.Accounts.InviteRules(ctx, user)
	if err == nil && rules.Of(sender) == accounts.InviteBlocked {
		err = mxerr.New(http.StatusForbidden, "M_INVITE_BLOCKED", "%s does not want invites from you.", user)
	}
	return err
}

// Leave lets a user leave a room, or refuse an invite.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave
func (s *Service) Leave(ctx context.Context, user, room, reason string) error {
	m := Membership{Sender: user, Target: user}
	content, err := s.memberContent(ctx, user, "leave", reason)
	if err != nil {
		return err
	}
	return s.change(ctx, room, "leave", m, content, func(was string) (bool, error) {
		switch was {
		case "join", "invite", "knock":
			return false, nil
		case "leave":
			return true, nil // as a repeated request finds it
		}
		return false, mxerr.Forbidden("You are not in the room %s.", room)
	})
}

// Kick removes a user from a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick
func (s *Service) Kick(ctx context.Context, room string, m Membership) error {
	if !id.ValidUser(m.Target) {
		return mxerr.InvalidParam("%q is not a user id.", m.Target)
	}
	content, err := s.memberContent(ctx, m.Target, "leave", m.Reason)
	if err != nil {
		return err
	}
	return s.change(ctx, room, "leave", m, content, func(was string) (bool, error) {
		switch was {
		case "join", "invite", "knock":
			return false, nil
		}
		return false, mxerr.Forbidden("%s is not in the room.", m.Target)
	})
}

// Ban removes a user from a room and keeps the user out.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban
func (s *Service) Ban(ctx context.Context, room string, m Membership) error {
	if !id.ValidUser(m.Target) {
		return mxerr.InvalidParam("%q is not a user id.", m.Target)
	}
	content, err := s.memberContent(ctx, m.Target, "ban", m.Reason)
	if err != nil {
		return err
	}
	return s.change(ctx, room, "ban", m, content, func(string) (bool, error) { return false, nil })
}

// Unban lets a banned user come back, if invited or if the room is open.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidunban
func (s *Service) Unban(ctx context.Context, room string, m Membership) error {
	if !id.ValidUser(m.Target) {
		return mxerr.InvalidParam("%q is not a user id.", m.Target)
	}
	content, err := s.memberContent(ctx, m.Target, "leave", m.Reason)
	if err != nil {
		return err
	}
	return s.change(ctx, room, "leave", m, content, func(was string) (bool, error) {
		if was != "ban" {
			return false, mxerr.Forbidden("%s is not banned from the room.", m.Target)
		}
		return false, nil
	})
}

// Forget hides a room that the user has left, or was banned from. To forget it
// again does nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget
func (s *Service) Forget(ctx context.Context, user, room string) error {
	c, err := s.Log.Cursor(ctx, user, room)
	if err != nil {
		return err
	}
	switch c.Membership {
	case "":
		return mxerr.NotFound("You never were in the room %s.", room)
	case "leave", "ban":
	default:
		return mxerr.Unknown("You are in the room %s; leave it first.", room)
	}
	ok, err := s.Log.Forget(ctx, user, room)
	if err == nil && !ok {
		return mxerr.Unknown("You are in the room %s; leave it first.", room)
	}
	return err
}

// Joined lists the rooms a user is in.
func (s *Service) Joined(ctx context.Context, user string) ([]string, error) {
	cursors, err := s.Log.Cursors(ctx, user)
	if err != nil {
		return nil, err
	}
	rooms := []string{}
	for _, c := range cursors {
		if c.Membership == "join" {
			rooms = append(rooms, c.Room)
		}
	}
	return rooms, nil
}

// SetProfileField sets a field of a local user's profile, and shows it in rooms
// if the user wants.
func (s *Service) SetProfileField(ctx context.Context, user, field string, value json.RawMessage, show bool) error {
	if err := s.Accounts.SetProfileField(ctx, user, field, value); err != nil {
		return err
	}
	return s.showField(ctx, user, field, show)
}

// DeleteProfileField removes a field of a local user's profile, also from rooms if
// the user wants.
func (s *Service) DeleteProfileField(ctx context.Context, user, field string, show bool) error {
	if err := s.Accounts.DeleteProfileField(ctx, user, field); err != nil {
		return err
	}
	return s.showField(ctx, user, field, show)
}

func (s *Service) showField(ctx context.Context, user, field string, show bool) error {
	if !show || field != accounts.FieldDisplayName && field != accounts.FieldAvatarURL {
		return nil // not part of memberships
	}
	return s.ShowProfile(ctx, user)
}

// ShowProfile makes a local user's membership events show the user's profile, in
// all rooms the user is in. It is idempotent: a request that died halfway is
// made complete by repeating it. Of several at once, one that shows a name which was
// replaced meanwhile shows the new one too.
//
// https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information
func (s *Service) ShowProfile(ctx context.Context, user string) error {
	content, err := s.memberContent(ctx, user, "join", "")
	for range maxTries {
		if err != nil {
			return err
		}
		if err := s.show(ctx, user, content); err != nil {
			return err
		}
		shown := content
		if content, err = s.memberContent(ctx, user, "join", ""); bytes.Equal(content, shown) {
			return err
		}
	}
	return errBusy
}

// show makes the membership events of a user show what the content does.
func (s *Service) show(ctx context.Context, user string, content json.RawMessage) error {
	rooms, err := s.Joined(ctx, user)
	if err != nil {
		return err
	}
	name, avatar := shownProfile(content)
	for _, room := range rooms {
		_, err := s.append(ctx, room, user, func(ctx context.Context, b *batch) error {
			events, err := s.Timeline.StateEvents(ctx, room, b.head.CurrentRoot(), memberKey(user))
			if err != nil || len(events) == 0 {
				return err
			}
			e, err := events[0].Event()
			if err != nil {
				return err
			}
			oldName, oldAvatar := shownProfile(e.Content)
			if membershipOf(e.Content) != "join" || oldName == name && oldAvatar == avatar {
				return nil
			}
			return b.add(ctx, Draft{Type: typeMember, Sender: user, StateKey: &user, Content: content})
		})
		if err != nil && mxerr.As(err) == nil {
			return err
		}
	}
	return nil
}
