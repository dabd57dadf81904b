package rooms

import (
	"context"
	"slices"

	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
)

// maxTogether is how many messages are sent in one transaction, and maxWrites how
// many writes it may have for another one to join it: a message is up to three, and
// one that relates to others up to twelve.
const (
	maxTogether = 24
	maxWrites   = store.MaxTransact - 12
)

// A letter is a message on its way into a room in which this process has several
// at a time.
type letter struct {
	ctx   context.Context
	draft Draft
	// The answer, once done is set. All three are guarded by the lock of the room.
	done bool
	sent Sent
	err  error
}

// sendTogether adds a message to a room. Whoever comes first takes along all who
// wait for the room meanwhile: in a busy room a commit, which is what takes time,
// is shared by many. A function on AWS has one request at a time, and nobody to
// take along.
func (s *Service) sendTogether(ctx context.Context, room string, d Draft) (Sent, error) {
	l := &letter{ctx: ctx, draft: d}
	s.box.Lock()
	s.letters[room] = append(s.letters[room], l)
	s.box.Unlock()
	defer s.lock(room)()
	if !l.done {
		s.sendLetters(room, l)
	}
	return l.sent, l.err
}

// sendLetters sends those that wait for the room, own among them.
func (s *Service) sendLetters(room string, own *letter) {
	s.box.Lock()
	waiting := s.letters[room]
	// The one's own goes in any case; who comes later goes with the next.
	if i := slices.Index(waiting, own); i >= maxTogether {
		waiting[i], waiting[maxTogether-1] = waiting[maxTogether-1], waiting[i]
	}
	n := min(len(waiting), maxTogether)
	group := slices.Clone(waiting[:n])
	if s.letters[room] = waiting[n:]; len(s.letters[room]) == 0 {
		delete(s.letters, room)
	}
	s.box.Unlock()
	for len(group) > 0 {
		group = s.sendGroup(own.ctx, room, group)
	}
}

// sendGroup sends letters in one transaction and returns those that have to be
// sent after it. At least one is done when it returns.
func (s *Service) sendGroup(ctx context.Context, room string, group []*letter) (rest []*letter) {
	txns := map[store.Key]bool{}
	var now []*letter
	for _, l := range group {
		// The same client transaction twice is two requests for one event: the
		// second finds it when the first is done.
		if l.draft.Txn.ID != "" {
			if key := txnKey(room, &l.draft); txns[key] {
				rest = append(rest, l)
				continue
			} else {
				txns[key] = true
			}
		}
		now = append(now, l)
	}
	if len(now) == 1 {
		l := now[0]
		l.sent, l.err = s.sendOne(l.ctx, room, l.draft)
		l.done = true
		return rest
	}
	// What one of them gave up on is not given up for the others.
	later, err := s.commitGroup(context.WithoutCancel(ctx), room, now)
	if err != nil {
		for _, l := range now {
			if !l.done {
				l.done, l.err = true, err
			}
		}
	}
	return append(later, rest...)
}

// commitGroup makes the events of the group and commits them. It returns those
// that are not done because the one before them failed, or did not fit.
func (s *Service) commitGroup(ctx context.Context, room string, group []*letter) (later []*letter, err error) {
	head, err := s.Timeline.Head(ctx, room)
	if err != nil {
		return nil, &unknownRoom{err}
	}
	for try := range maxTries {
		b, err := s.newBatch(ctx, room, head)
		if err != nil {
			return nil, err
		}
		in, txnAt := []*letter{}, map[int]*letter{}
		for i, l := range group {
			if i > 0 && b.size() > maxWrites {
				later = slices.Concat(group[i:], later)
				break
			}
			b.txn = nil
			err := b.add(l.ctx, l.draft)
			if err == nil {
				if in = append(in, l); l.draft.Txn.ID != "" {
					txnAt[b.txnAt] = l
				}
				continue
			}
			refused := mxerr.As(clientError(err)) != nil
			old, err := b.repeated(l.ctx, err)
			if err == nil {
				l.done, l.sent = true, *old
			} else {
				l.done, l.err = true, clientError(err)
			}
			if !refused {
				// The store failed, or the request was given up, perhaps halfway through
				// the batch: the others begin anew.
				return slices.Concat(in, group[i+1:], later), nil
			}
		}
		if len(in) == 0 {
			return later, nil
		}
		group = in
		if err := b.finish(ctx); err != nil {
			return nil, err
		}
		err = b.commit(ctx)
		if err == nil {
			for i, l := range in {
				l.done, l.sent = true, b.sent[i]
			}
			return later, nil
		}
		f := store.Failed(err)
		if f == nil && !busy(err) {
			return nil, err
		}
		if f != nil {
			repeated := false
			for at, l := range txnAt {
				if f.Failed[at].Exists() {
					l.done, l.sent, repeated = true, sentBefore(f.Failed[at]), true
				}
			}
			if repeated {
				return append(slices.DeleteFunc(in, func(l *letter) bool { return l.done }), later...), nil
			}
		}
		if f == nil || !f.Failed[0].Exists() || try >= stepAside {
			if err := s.pause(ctx, try); err != nil {
				return nil, err
			}
			head, err = s.Timeline.Head(ctx, room)
		} else {
			head, err = timeline.HeadOf(f.Failed[0])
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errBusy
}

// sendOne is for a letter that goes alone.
func (s *Service) sendOne(ctx context.Context, room string, d Draft) (Sent, error) {
	sent, _, err := s.commitLocked(ctx, room, func(ctx context.Context, b *batch) error { return b.add(ctx, d) })
	if err != nil {
		return Sent{}, err
	}
	return sent[0], nil
}
