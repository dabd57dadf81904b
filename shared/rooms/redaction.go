package rooms

import (
	"context"
	"fmt"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
)

// CheckOwn returns nil if the user sent the event, and M_USER_SUSPENDED if not or if
// that is not known: it is for suspended users.
func (s *Service) CheckOwn(ctx context.Context, user, room, eventID string) error {
	known, err := s.Timeline.KnownEvents(ctx, room, []string{eventID})
	if err != nil {
		return err
	}
	row := known[eventID]
	if row == nil {
		return mxerr.UserSuspended()
	}
	e, err := row.Event()
	if err != nil {
		return err
	}
	if e.Sender != user {
		return mxerr.UserSuspended()
	}
	return nil
}

// redaction is an accepted m.room.redaction with the state before it.
type redaction struct {
	*pdu.Event
	before trie.Root
	pos    timeline.Pos
}

// maxRedactions is how many redactions of an event are looked at when it arrives
// after them. Each takes an accepted event, so that more are an attack.
const maxRedactions = 50

// redact marks the target. The mark is a row of its own, so that a target that
// arrives later finds it; if the target is here and the redaction may redact it,
// that is said in the target's row too, so that readers of events need no further
// read.
func (b *batch) redact(ctx context.Context, r redaction) error {
	k := timeline.RedactionKey(b.room, r.Redacts, r.ID)
	b.rows[k] = store.Put(store.Rooms, k, store.Attrs{"pos": int64(r.pos)})
	known, err := b.s.Timeline.KnownEvents(ctx, b.room, []string{r.Redacts})
	row := known[r.Redacts]
	if err != nil || row == nil || row.Redacted != "" {
		return err
	}
	target, err := row.Event()
	if err != nil {
		return err
	}
	if ok, err := b.mayRedact(ctx, r, target); err != nil || !ok {
		return err
	}
	if target.IsState() {
		b.head.Stripped = max(b.head.Stripped, r.pos)
	}
	if row.Pos == 0 {
		index, err := b.s.Timeline.Index(ctx, []string{target.ID})
		if err != nil || index[target.ID] == nil {
			return err
		}
		b.markUnplaced(index[target.ID], "rd", r.ID)
	} else {
		// Only one redaction takes back what the event added to others.
		b.changeEvent(row.Pos, func(w store.Write) store.Write {
			return w.Set("rd", r.ID).Set("rp", int64(r.pos)).If(store.Absent("rd"))
		})
		if err := b.unrelate(ctx, target, row.Pos); err != nil {
			return err
		}
	}
	return b.forgetNames(ctx, target)
}

// mayRedact reports whether a redaction takes effect on an event. In room
// versions 1 and 2 the authorisation rules have decided that already.
//
// https://spec.matrix.org/v1.19/rooms/v12/#handling-redactions
func (b *batch) mayRedact(ctx context.Context, r redaction, target *pdu.Event) (bool, error) {
	if b.v.RedactionRule {
		return true, nil
	}
	state, err := b.stateIn(ctx, r.before, []auth.Key{createKey, levelsKey})
	if err != nil {
		return false, err
	}
	return auth.Levels(b.v, state).MayRedact(r.Sender, target.Sender), nil
}

// forgetNames takes the names that a redacted membership event shows out of the
// list of members.
func (b *batch) forgetNames(ctx context.Context, e *pdu.Event) error {
	if e.Type != typeMember || e.StateKey == nil {
		return nil
	}
	key := trie.Key{Type: typeMember, StateKey: *e.StateKey}
	ids, err := trie.Lookup(ctx, b.loader(), b.room, b.head.CurrentRoot(), []trie.Key{key})
	if err != nil {
		return fmt.Errorf("look up state of %s: %w", b.room, err)
	}
	if ids[key] == e.ID && b.was.RowsCurrent() {
		k := timeline.MemberKey(b.room, b.s.where(*e.StateKey), membershipOf(e.Content), *e.StateKey)
		b.rows[k] = store.Update(store.Rooms, k).Remove("dn", "av").If(store.Exists())
	}
	return nil
}

// redactedBy finds the redaction of an event that arrived before it.
func (b *batch) redactedBy(ctx context.Context, e *pdu.Event) (eventID string, pos timeline.Pos, err error) {
	marks, err := b.s.Timeline.RedactionsOf(ctx, b.room, e.ID, maxRedactions)
	if err != nil || len(marks) == 0 {
		return "", 0, err
	}
	var ids []string
	for _, m := range marks {
		ids = append(ids, m.ID)
	}
	bodies, err := b.bodies(ctx, ids)
	if err != nil {
		return "", 0, err
	}
	index, err := b.s.Timeline.Index(ctx, ids)
	if err != nil {
		return "", 0, err
	}
	for _, m := range marks {
		r, row := bodies[m.ID], index[m.ID]
		if r == nil || row == nil {
			continue
		}
		if ok, err := b.mayRedact(ctx, redaction{r, row.BeforeRoot(), m.Pos}, e); err != nil || ok {
			return m.ID, m.Pos, err
		}
	}
	return "", 0, nil
}
