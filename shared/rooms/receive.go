package rooms

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/receipt"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
)

// Incoming is an event that another server made, with what the caller could find
// out about what is before it.
type Incoming struct {
	*receipt.Received
	// After is the state after each of those previous events that are not here, by
	// the id of the previous event: the ids of all its state events, which have to
	// be known. It is what /state_ids says.
	After map[string][]string
	// Final says that the events of the last MissingError that are not here by now
	// cannot be had: an event whose auth events are missing is rejected.
	Final bool
}

// MissingError says what has to be fetched before an event can be judged. Nothing
// was stored. Auth events are to be received as outliers, and previous events in
// their order, or else the state after them is to be found out (Incoming.After).
type MissingError struct {
	Auth, Prev []string
}

// Error lists the events.
func (e *MissingError) Error() string {
	return "events are missing: " + strings.Join(slices.Concat(e.Auth, e.Prev), ", ")
}

// Receives is what Receive, ReceiveOutlier, Backfill and CorrectState use, and
// Begins what Begin does.
var (
	Receives = Writes
	Begins   = grant.Of(Receives, grant.WriteTable("server"))
)

// Receive takes an event that comes as news: by a transaction, or with a join. An
// event that is accepted takes the next position; if events are missing before it,
// it opens a segment. An event that closes a gap is one of the past and takes a
// position below it. Rejected and soft-failed events are kept without a position,
// and judged again when they come again: what was missing, or not allowed any
// more, may have turned out otherwise.
//
// It may be repeated, and run for several events of a room at a time. Errors are
// *MissingError, or those of the store; a verdict is no error.
//
// https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
func (s *Service) Receive(ctx context.Context, room string, in Incoming) (receipt.Verdict, error) {
	return s.receive(ctx, room, in, news)
}

// ReceiveOutlier takes an event whose place in the room is not known: one of an
// auth chain, or of a state that another server tells.
func (s *Service) ReceiveOutlier(ctx context.Context, room string, in Incoming) (receipt.Verdict, error) {
	return s.receive(ctx, room, in, outlier)
}

// as is what an event comes as.
type as uint8

const (
	news    as = iota
	past       // of backfill: it is judged, and placed later
	outlier    // check 4 only
	first      // the room begins with it here
)

// Begin makes a room known here that other servers made: with the events of its
// state and their auth chains, and one event that the room goes on from, which is
// most often a local user's join; events are missing before it, and In.After tells
// the state after them. A room may also begin with its create event.
func (s *Service) Begin(ctx context.Context, room string, outliers []Incoming, in Incoming) (receipt.Verdict, error) {
	for _, o := range outliers {
		if _, err := s.receive(ctx, room, o, outlier); err != nil {
			return receipt.Verdict{}, err
		}
	}
	return s.receive(ctx, room, in, first)
}

func (s *Service) receive(ctx context.Context, room string, in Incoming, as as) (receipt.Verdict, error) {
	if in.Event().RoomID != room {
		return receipt.Verdict{}, fmt.Errorf("event %s is of another room than %s", in.Event().ID, room)
	}
	defer s.lock(room)()
	for try := range maxTries {
		verdict, err := s.receiveOnce(ctx, room, in, as)
		if store.Failed(err) == nil && !busy(err) {
			return verdict, err
		}
		if err := s.pause(ctx, try); err != nil {
			return receipt.Verdict{}, err
		}
	}
	return receipt.Verdict{}, errBusy
}

// judging is one event on its way into a room.
type judging struct {
	*batch
	Incoming
	known *timeline.IndexRow // the event's row so far, or nil
	cited receipt.Cited
	// unplaced says that some of its previous events have no position, or are not
	// here.
	unplaced bool
}

func (s *Service) receiveOnce(ctx context.Context, room string, in Incoming, as as) (receipt.Verdict, error) {
	head, err := s.Timeline.Head(ctx, room)
	if mxerr.Is(err, "M_NOT_FOUND") && (as == first || as == outlier) {
		head, err = &timeline.Head{RoomVersion: in.Event().Version.ID, Visibility: "s"}, nil
	}
	if err != nil {
		return receipt.Verdict{}, &unknownRoom{err}
	}
	if head.Version != 0 && as == first {
		as = news
	}
	if v := in.Event().Version.ID; v != head.RoomVersion {
		return receipt.Verdict{}, fmt.Errorf("event %s was read as one of room version %s, and %s has version %s", in.Event().ID, v, room, head.RoomVersion)
	}
	b, err := s.newBatch(ctx, room, head)
	if err != nil {
		return receipt.Verdict{}, err
	}
	j := judging{batch: b, Incoming: in}
	if j.known, err = s.knownAs(ctx, in.Event()); err != nil {
		return receipt.Verdict{}, err
	}
	switch {
	case j.known != nil && j.known.Room != room:
		return receipt.Verdict{Check: 1, Err: fmt.Errorf("the id %s is that of an event of another room", in.Event().ID)}, nil
	case j.known != nil && j.known.Pos != 0:
		return receipt.Verdict{Outcome: receipt.Accepted}, nil
	case as == outlier && j.known != nil && j.known.Status != timeline.Rejected:
		return receipt.Verdict{Outcome: receipt.Accepted}, nil // as far as an outlier can be
	}
	if err := j.loadCited(ctx); err != nil {
		return receipt.Verdict{}, err
	}
	if as == outlier {
		return j.judgeOutlier(ctx)
	}
	return j.judge(ctx, as)
}

// knownAs returns what is known of an event, or nil.
func (s *Service) knownAs(ctx context.Context, e *pdu.Event) (*timeline.IndexRow, error) {
	index, err := s.Timeline.Index(ctx, []string{e.ID})
	return index[e.ID], err
}

// loadCited loads the views of the auth events.
func (j *judging) loadCited(ctx context.Context) error {
	views, err := j.viewsOf(ctx, j.Cites())
	if err != nil {
		return err
	}
	j.cited = receipt.Cited(views)
	if missing := j.Missing(j.cited); len(missing) > 0 && !j.Final {
		return &MissingError{Auth: missing}
	}
	return nil
}

func (j *judging) judgeOutlier(ctx context.Context) (receipt.Verdict, error) {
	verdict := j.JudgeOutlier(j.cited)
	if verdict.Outcome != receipt.Accepted {
		return verdict, j.keep(ctx, timeline.Rejected, nil, nil)
	}
	return verdict, j.keep(ctx, timeline.Outlier, nil, nil)
}

// judge is checks 4 to 7, and what follows from them.
func (j *judging) judge(ctx context.Context, as as) (receipt.Verdict, error) {
	e := j.Event()
	if len(e.PrevEvents) == 0 && as != first {
		// Only the create event of the room has none, and the room has that.
		return receipt.Verdict{Check: 1, Err: fmt.Errorf("%w: no prev_events", pdu.ErrBadEvent)}, nil
	}
	before, err := j.stateBeforeIt(ctx)
	if err != nil {
		return receipt.Verdict{}, err
	}
	had, err := j.stateIn(ctx, before, j.Reads())
	if err != nil {
		return receipt.Verdict{}, err
	}
	if verdict := j.JudgePast(j.cited, had); verdict.Outcome != receipt.Accepted {
		return verdict, j.reject(ctx, before)
	}
	if as == past {
		if j.known != nil && j.known.Judged() && j.known.Status != timeline.Rejected {
			return receipt.Verdict{Outcome: receipt.Accepted}, nil // also one that soft-failed stays so
		}
		return receipt.Verdict{Outcome: receipt.Accepted}, j.hold(ctx, timeline.Outlier, before)
	}
	gaps, err := j.gapsBefore(ctx, e.ID)
	if err != nil {
		return receipt.Verdict{}, err
	}
	a := accepted{event: e, view: j.viewToStore(), before: before, known: j.known, foreign: true}
	if j.unplaced {
		if a.behind, err = j.lookBehind(ctx, e); err != nil {
			return receipt.Verdict{}, err
		}
	}
	if len(gaps) > 0 {
		return receipt.Verdict{Outcome: receipt.Accepted}, j.placeInPast(ctx, a, gaps)
	}
	has := had // also where the room begins with the event
	if as != first && before != j.head.CurrentRoot() {
		if has, err = j.state(ctx, j.Reads()); err != nil {
			return receipt.Verdict{}, err
		}
	}
	policy, err := j.policy(ctx)
	if err != nil {
		return receipt.Verdict{}, err
	}
	if verdict := j.Judge(receipt.Evidence{Cited: j.cited, Before: had, Current: has, Policy: policy}); verdict.Outcome != receipt.Accepted {
		return verdict, j.hold(ctx, timeline.SoftFailed, before)
	}
	if err := j.accept(ctx, a); err != nil {
		return receipt.Verdict{}, err
	}
	if as == first {
		j.writes = append(j.writes, indexWrite(j.room, j.s.Clock.Now()))
	}
	if err := j.finish(ctx); err != nil {
		return receipt.Verdict{}, err
	}
	return receipt.Verdict{Outcome: receipt.Accepted}, j.commit(ctx)
}

// stateBeforeIt is the state before the event: that after its previous events,
// resolved.
func (j *judging) stateBeforeIt(ctx context.Context) (trie.Root, error) {
	prevs := j.Event().PrevEvents
	index, err := j.s.Timeline.Index(ctx, prevs)
	if err != nil {
		return trie.Root{}, err
	}
	var roots []trie.Root
	var unknown []string
	for _, prev := range prevs {
		row := index[prev]
		j.unplaced = j.unplaced || row == nil || row.Room != j.room || row.Pos == 0
		if row != nil && row.Room == j.room && row.Judged() {
			roots = append(roots, row.AfterRoot())
			continue
		}
		told, ok := j.After[prev]
		if !ok {
			unknown = append(unknown, prev)
			continue
		}
		root, err := j.stateOf(ctx, told)
		if err != nil {
			return trie.Root{}, err
		}
		roots = append(roots, root)
	}
	if len(unknown) > 0 {
		return trie.Root{}, &MissingError{Prev: unknown}
	}
	return j.resolve(ctx, roots)
}

// stateOf is the state that consists of known events.
func (b *batch) stateOf(ctx context.Context, ids []string) (trie.Root, error) {
	views, err := b.viewsOf(ctx, ids)
	if err != nil {
		return trie.Root{}, err
	}
	var entries []trie.Entry
	var unknown []string
	for _, eventID := range ids {
		switch v := views[eventID]; {
		case v == nil:
			unknown = append(unknown, eventID)
		case v.State && v.Room == b.room && !v.Rejected:
			entries = append(entries, trie.Entry{Key: trie.Key(v.Key()), EventID: eventID})
		}
	}
	if len(unknown) > 0 {
		return trie.Root{}, &MissingError{Auth: unknown}
	}
	return b.update(ctx, trie.Root{}, entries)
}

// policy is the room's policy server, by the current state.
func (b *batch) policy(ctx context.Context) (receipt.Policy, error) {
	key := trie.Key{Type: "m.room.policy"}
	ids, err := trie.Lookup(ctx, b.loader(), b.room, b.head.CurrentRoot(), []trie.Key{key})
	if err != nil {
		return receipt.Policy{}, fmt.Errorf("look up state of %s: %w", b.room, err)
	}
	if ids[key] == "" {
		return receipt.PolicyOf(nil, nil), nil
	}
	rows, err := b.s.Timeline.KnownEvents(ctx, b.room, []string{ids[key]})
	if err != nil || rows[ids[key]] == nil {
		return receipt.Policy{}, err
	}
	e, err := rows[ids[key]].Visible()
	if err != nil {
		return receipt.Policy{}, err
	}
	return receipt.PolicyOf(e.Content, func(server string) bool {
		var joined bool
		joined, err = b.s.Timeline.ServerJoined(ctx, b.room, &b.head, server)
		return joined
	}), err
}

// hold keeps a judged event without a position.
func (j *judging) hold(ctx context.Context, status timeline.Status, before trie.Root) error {
	after, _, err := j.stateAfter(ctx, j.Event(), before)
	if err != nil {
		return err
	}
	if err := j.keep(ctx, status, &before, &after); err != nil || status == timeline.Outlier {
		return err
	}
	missed, err := j.missedMeanwhile(ctx)
	if err == nil && missed {
		err = fmt.Errorf("%s has its place by now: %w", j.Event().ID, store.ErrConflict)
	}
	return err
}

// missedMeanwhile reports whether a gap misses the event, read anew after the event
// was kept: whoever noted that it is missing did so on the condition that it was
// not judged yet, so one of the two sees the other.
func (j *judging) missedMeanwhile(ctx context.Context) (bool, error) {
	head, err := j.s.Timeline.Head(ctx, j.room)
	if err != nil {
		return false, err
	}
	b, err := j.s.newBatch(ctx, j.room, head)
	if err != nil {
		return false, err
	}
	gaps, err := b.gapsBefore(ctx, j.Event().ID)
	return len(gaps) > 0, err
}

// reject keeps a rejected event. Events that the room has may follow it, and their
// past goes on before it.
func (j *judging) reject(ctx context.Context, before trie.Root) error {
	if err := j.keep(ctx, timeline.Rejected, &before, &before); err != nil {
		return err
	}
	gaps, err := j.gapsBefore(ctx, j.Event().ID)
	if err != nil {
		return err
	}
	if len(gaps) == 0 {
		missed, err := j.missedMeanwhile(ctx)
		if err == nil && missed {
			err = fmt.Errorf("%s is missed by now: %w", j.Event().ID, store.ErrConflict)
		}
		return err
	}
	row, err := j.s.knownAs(ctx, j.Event())
	if err != nil {
		return err
	}
	return j.passOver(ctx, row, j.Event(), gaps)
}

// keep stores an event that has no position, or not yet. The roots are nil where
// they are not known.
func (j *judging) keep(ctx context.Context, status timeline.Status, before, after *trie.Root) error {
	e := j.Event()
	view := j.viewToStore()
	view.Rejected = status == timeline.Rejected
	view.Generation = generation(view, j.cited)
	row := timeline.IndexRow{
		Room: j.room, Status: status, View: view.Encode(), Seen: max(j.head.Pos, 1), JSON: e.JSON(), RoomVersion: j.v.ID,
	}
	if before != nil {
		row.Before, row.After = before[:], after[:]
	}
	put := store.Put(store.Events, timeline.IndexKey(e.ID), nil)
	if j.known == nil {
		put = put.If(store.NotExists())
	} else {
		if j.known.Status == status && (before == nil || slices.Equal(j.known.After, row.After)) {
			return nil // as it was
		}
		row.Seen, row.Redacted, row.Followed = j.known.Seen, j.known.Redacted, j.known.Followed
		put = put.If(unchanged(j.known)...)
	}
	if err := j.writeChunks(ctx); err != nil {
		return err
	}
	mark := store.Put(store.Rooms, timeline.UnplacedKey(j.room, e.ID), store.Attrs{})
	if _, err := j.s.DB.Write(ctx, mark); err != nil {
		return fmt.Errorf("mark %s: %w", e.ID, err)
	}
	if row.Redacted == "" {
		var err error
		if row.Redacted, _, err = j.redactedBy(ctx, e); err != nil {
			return err
		}
	}
	put.Attrs = store.Encode(row)
	if _, err := j.s.DB.Write(ctx, put); err != nil {
		return fmt.Errorf("keep %s: %w", e.ID, err)
	}
	return nil
}

// viewToStore is a copy of the view that can be given a generation.
func (j *judging) viewToStore() *auth.View {
	view := *j.View()
	return &view
}

// unchanged is the condition that an event without a position is still as it was
// read.
func unchanged(row *timeline.IndexRow) []store.Cond {
	is := []store.Cond{store.Absent("pos"), store.Equal("st", int64(row.Status)), store.Absent("fol")}
	if row.Followed {
		is[2] = store.Present("fol")
	}
	return is
}

// viewOf reads the view of a row.
func viewOf(row *timeline.IndexRow) (*auth.View, error) {
	v, err := auth.Decode(row.View)
	if err != nil {
		return nil, fmt.Errorf("auth view of %s: %w", row.ID, err)
	}
	return v, nil
}
