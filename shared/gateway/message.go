package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/shared/push"
)

// message is the body of a request to a push gateway.
//
// https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify
type message struct {
	Notification about `json:"notification"`
}

type about struct {
	EventID    string `json:"event_id,omitempty"`
	RoomID     string `json:"room_id,omitempty"`
	Type       string `json:"type,omitempty"`
	Sender     string `json:"sender,omitempty"`
	SenderName string `json:"sender_display_name,omitempty"`
	RoomName   string `json:"room_name,omitempty"`
	RoomAlias  string `json:"room_alias,omitempty"`
	IsTarget   bool   `json:"user_is_target,omitempty"`
	// Membership is not of the specification: Sygnal needs it to say that the user
	// was invited.
	Membership string          `json:"membership,omitempty"`
	Prio       string          `json:"prio,omitempty"`
	Content    json.RawMessage `json:"content,omitempty"`
	Counts     counts          `json:"counts"`
	Devices    []device        `json:"devices"`
}

// counts leaves out what is zero, unless that is what the message is about: for
// Sygnal a number that is not there is one that stays.
type counts struct {
	Unread *int `json:"unread,omitempty"`
}

type device struct {
	AppID   string                     `json:"app_id"`
	PushKey string                     `json:"pushkey"`
	SetAt   int64                      `json:"pushkey_ts"` // seconds
	Data    map[string]json.RawMessage `json:"data"`
	Tweaks  map[string]any             `json:"tweaks,omitempty"`
}

// target is a pusher, ready to be sent to.
type target struct {
	push.Pusher
	url    string
	device device
	// idOnly leaves out what the event says.
	idOnly bool
	// noBadge is of apps that count themselves.
	//
	// https://github.com/matrix-org/matrix-spec-proposals/pull/4076
	noBadge bool
}

func targetOf(p push.Pusher) (*target, bool) {
	var data map[string]json.RawMessage
	if p.Kind != "http" || json.Unmarshal(p.Data, &data) != nil {
		return nil, false
	}
	t := &target{Pusher: p}
	text := func(key string) (s string) {
		_ = json.Unmarshal(data[key], &s) // the pusher was checked when it was set
		return s
	}
	t.url, t.idOnly = text("url"), text("format") == "event_id_only"
	_ = json.Unmarshal(data["org.matrix.msc4076.disable_badge_count"], &t.noBadge)
	delete(data, "url")
	t.device = device{AppID: p.AppID, PushKey: p.PushKey, SetAt: p.SetAt / 1000, Data: data}
	return t, true
}

// message tells a user of an event.
func (t *target) message(user string, n notification, unread int) message {
	tweaks := map[string]any{}
	for _, a := range n.Outcome.Actions {
		if name, value, ok := push.TweakOf(a); ok {
			tweaks[name] = value
		}
	}
	a := about{EventID: n.Event.ID, RoomID: n.room.id, Prio: "low", Devices: []device{t.device}}
	if !t.noBadge && unread > 0 {
		a.Counts.Unread = &unread
	}
	// What makes a noise, or may do so once it is decrypted, does not wait.
	if n.Event.Type == "m.room.encrypted" || tweaks["sound"] != nil || n.Outcome.Highlight {
		a.Prio = "high"
	}
	if t.idOnly {
		return message{a}
	}
	a.Devices[0].Tweaks = tweaks
	a.Type, a.Sender, a.SenderName = n.Event.Type, n.Event.Sender, n.room.senders[n.Event.Sender]
	a.RoomName, a.RoomAlias, a.Content = n.room.name, n.room.alias, n.Event.Content
	if n.Event.Is("m.room.member", user) {
		a.IsTarget = true
		a.Membership, _ = canonicaljson.String(canonicaljson.Get(n.Event.Content, "membership"))
	}
	return message{a}
}

// counts is about how much is unread, and no event.
func (t *target) counts(unread int) message {
	return message{about{Counts: counts{&unread}, Devices: []device{t.device}}}
}

// maxAnswer bounds what is read of a gateway's answer, in bytes.
const maxAnswer = 64 << 10

// refusal is the error of a gateway that cannot be reached or does not do what it
// is asked to.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// post sends a message. It reports gone if the gateway rejects the pushkey.
func (s *Service) post(ctx context.Context, t *target, m message) (gone bool, err error) {
	body, err := json.Marshal(m)
	if err != nil {
		return false, fmt.Errorf("encode notification: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return false, &refusal{fmt.Errorf("push gateway: %w", err)}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Virga")
	resp, err := s.Client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return false, &refusal{fmt.Errorf("push gateway: %w", err)}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return false, &refusal{fmt.Errorf("push gateway: %w", err)}
	}
	if resp.StatusCode/100 != 2 {
		return false, &refusal{fmt.Errorf("push gateway: %s", resp.Status)}
	}
	var said struct {
		Rejected []string `json:"rejected"`
	}
	_ = json.Unmarshal(answer, &said) // what says nothing rejects nothing
	return slices.Contains(said.Rejected, t.PushKey), nil
}
