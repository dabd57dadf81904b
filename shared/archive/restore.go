package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/federation"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// # Back to an earlier time
//
// Restore puts a server back in its own tables, from copies of them at an earlier
// second. Import into the tables of a new stack would do as well, and leave the old
// ones alone; but the new stack has another address, and nothing of what was revoked
// since. Here both the copies and the tables are there, so that
//
//   - what was said is as it was then: rooms, events, cursors, account data, aliases;
//   - who is who, and who may, is as it is now: accounts, passwords, administrators,
//     devices, sessions, registration tokens, keys. So nobody who was logged out comes
//     back, and nobody is logged out. Whoever registered since has an account, in no
//     room. Whoever was deactivated since leaves the rooms again.
//   - Positions of rooms and versions of their HEADs move forward (timeline.Restored),
//     and logs begin a new generation, as with Import.
//
// What the copies do not have of the former is only taken from them where the account
// itself is missing, which no route does.
//
// It writes only what differs, so it costs what has changed since; and it can be
// repeated, with the same copies, until it succeeds. Nobody may use the server
// meanwhile, and no process that has seen the later time may serve afterwards: what it
// remembers of numbers in logs would be of the other generation.

// Back is what Restore needs. All but Dry and LogOut are required.
type Back struct {
	ServerName string
	// Copies are the tables as they were, and Then reads all of them; DB and Source are
	// those of the server.
	Copies store.DB
	Then   Source
	DB     store.DB
	Source Source
	Queues queue.Sender
	// ID names the copies. As long as those of one ID are not put back to the end,
	// others are refused.
	ID  string
	Now time.Time
	// LogOut ends all sessions and deletes all devices besides.
	LogOut bool
	// Dry finds out what would be done, and writes nothing.
	Dry bool
}

// Done says what Restore has done, or would do.
type Done struct {
	// Put and Deleted count rows by table.
	Put, Deleted map[string]int64
	// Rooms are those that there were then, Moved those of them that have changed since,
	// and Lost those that were made since and are gone.
	Rooms, Moved, Lost int64
	// Kept are the accounts that were made since, and Again those that were deactivated
	// since.
	Kept, Again []string
}

// restore is a run of Restore.
type restore struct {
	Back
	into    Into
	pool    *pool
	mu      sync.Mutex
	done    Done
	tasks   pending
	heads   []store.Item
	missing []gone // of what outlives, in their order
	lost    map[string]bool
}

type gone struct {
	table *store.Table
	store.Item
	user string
}

// outlives reports whether a row stays as it is now, and whose it is if it is a user's.
//
// Whoever adds a kind of row that says who somebody is, who may do what, what was handed
// out once, or what other servers were told, lists it here as well as in leftBehind. In
// the tables of tokens and e2ee there is nothing else: one-time keys that were handed out
// since stay so, and a device that stays logged in keeps the keys that it knows to be there.
func outlives(t *store.Table, k store.Key) (user string, ok bool) {
	switch t {
	case store.Tokens, store.E2EE:
		return "", true
	case store.Server:
		return "", k == mark || federation.OutlivesRestore(k) || accounts.IsDeactivation(k)
	case store.Users:
		if user, ok = accounts.OutlivesRestore(k); ok {
			return user, ok
		}
		if user, ok = timeline.OutlivesRestore(k); ok {
			return user, ok
		}
		return "", userlog.OutlivesRestore(k)
	}
	return "", false
}

// Restore puts a server back to an earlier time. See above for what that means.
func Restore(ctx context.Context, b Back) (Done, error) {
	ctx, cancel := context.WithCancel(grant.With(ctx, "restore", uses(), nil))
	defer cancel()
	r := &restore{
		Back: b, into: Into{DB: b.DB}, pool: newPool(), tasks: pending{}, lost: map[string]bool{},
		done: Done{Put: map[string]int64{}, Deleted: map[string]int64{}},
	}
	if err := r.check(ctx); err != nil {
		return Done{}, err
	}
	if err := r.begin(ctx); err != nil {
		return Done{}, err
	}
	for _, step := range []func(context.Context) error{r.putBack, r.takeAway, r.revive, r.rooms, r.logOut} {
		err := step(ctx)
		r.pool.wait()
		if err = errors.Join(err, r.pool.failed()); err != nil {
			return r.done, err
		}
	}
	if r.Dry {
		return r.done, nil
	}
	for _, t := range r.tasks.tasks() {
		body, err := json.Marshal(t)
		if err != nil {
			return r.done, err
		}
		if err := r.Queues.Send(ctx, queue.Work, queue.Message{Body: string(body)}); err != nil {
			return r.done, fmt.Errorf("send what may be pending: %w", err)
		}
	}
	return r.done, r.into.write(ctx, store.Delete(store.Server, mark))
}

// check reads the copies before anything is changed. They have to be all there, of this
// server and of one moment, as far as can be seen: each room is whole, and nobody was
// told more of it than there is.
func (r *restore) check(ctx context.Context) error {
	filled := map[*store.Table]bool{}
	for _, t := range store.Tables {
		for _, err := range r.Then.Items(ctx, t) {
			if err != nil {
				return fmt.Errorf("read the copy of the table %s: %w", t.Name, err)
			}
			filled[t] = true
			break
		}
	}
	if filled[store.Rooms] != filled[store.Events] || filled[store.Rooms] && !filled[store.Server] {
		return errors.New("the copies are not of one moment: some of the tables rooms, events and server are empty, and some are not")
	}
	heads := map[string]timeline.Pos{}
	for it, err := range r.Then.Items(ctx, store.Rooms) {
		if err != nil {
			return fmt.Errorf("read the copy of the table rooms: %w", err)
		}
		if !isHead(store.Rooms, it) {
			continue
		}
		heads[roomOf(it)] = timeline.Pos(it.Int("pos"))
		err := r.pool.do(func() error {
			err := whole(ctx, r.Copies, it)
			if err != nil {
				err = fmt.Errorf("%w: %s", err, anotherSecond)
			}
			return err
		})
		if err != nil {
			return err
		}
		r.done.Rooms++
	}
	r.pool.wait()
	if err := r.pool.failed(); err != nil {
		return err
	}
	accounts := 0
	for it, err := range r.Then.Items(ctx, store.Users) {
		if err != nil {
			return fmt.Errorf("read the copy of the table users: %w", err)
		}
		if err := refused(store.Users, it, r.ServerName); err != nil {
			return fmt.Errorf("%w: are these the copies of this server?", err)
		}
		if isAccount(it) {
			accounts++
		}
		if room, ok := userlog.RoomOfCursor(it.Key); ok {
			c, err := userlog.DecodeCursor(it)
			if err != nil {
				return err
			}
			if head, here := heads[room]; here && c.To > head {
				return fmt.Errorf("%s was told more of the room %s than there is: %s", userlog.UserOfPart(it.Key.Part), room, anotherSecond)
			}
		}
	}
	if accounts == 0 {
		return errors.New("the copies have no accounts: were they restored to a second before the first one?")
	}
	return nil
}

const anotherSecond = "restore the copies to a second before or after, all to the same"

func isAccount(it store.Item) bool { return accounts.IsAccount(it.Key) }

// begin marks the tables as those that are put back.
func (r *restore) begin(ctx context.Context) error {
	it, err := r.DB.Get(ctx, store.Ref{Table: store.Server, Key: mark}, store.Consistent)
	switch {
	case err == nil && it.Str("id") != r.ID:
		return fmt.Errorf("something else began here and did not end (%s): do that again first", it.Str("id"))
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	case r.Dry:
		return nil
	}
	return r.into.write(ctx, store.Put(store.Server, mark, store.Attrs{"id": r.ID}))
}

// Begun reports whether something was begun in the tables that has not ended, an import
// or a restore, and names it.
func Begun(ctx context.Context, db store.DB) (id string, err error) {
	it, err := db.Get(grant.With(ctx, "restore", uses(), nil), store.Ref{Table: store.Server, Key: mark}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return it.Str("id"), err
}

// in goes through a table in batches, and looks up the same keys elsewhere.
func (r *restore) in(ctx context.Context, source Source, of store.DB, t *store.Table, do func(it, other store.Item) error) error {
	var batch []store.Item
	flush := func() error {
		items := batch
		batch = nil
		return r.pool.do(func() error {
			refs := make([]store.Ref, len(items))
			for i, it := range items {
				refs[i] = store.Ref{Table: t, Key: it.Key}
			}
			found, err := store.GetAll(ctx, of, refs, store.Consistent)
			if err != nil {
				return fmt.Errorf("compare the table %s: %w", t.Name, err)
			}
			others := make(map[store.Key]store.Item, len(found))
			for _, it := range found {
				others[it.Key] = it
			}
			for _, it := range items {
				if err := do(it, others[it.Key]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for it, err := range source.Items(ctx, t) {
		if err != nil {
			return fmt.Errorf("read the table %s: %w", t.Name, err)
		}
		if batch = append(batch, it); len(batch) == store.MaxBatchGet {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	err := flush()
	r.pool.wait()
	return errors.Join(err, r.pool.failed())
}

// putBack writes what differs from what was.
func (r *restore) putBack(ctx context.Context) error {
	for _, t := range store.Tables {
		if _, all := outlives(t, store.Key{}); all {
			continue
		}
		err := r.in(ctx, r.Then, r.DB, t, func(then, now store.Item) error { return r.back(ctx, t, then, now) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *restore) back(ctx context.Context, t *store.Table, then, now store.Item) error {
	if leftBehind(t, then.Key) || !then.Expires.IsZero() && !then.Expires.After(r.Now) {
		return nil
	}
	r.mu.Lock()
	r.tasks.note(t, then)
	if isHead(t, then) {
		r.heads = append(r.heads, then)
		r.mu.Unlock()
		return nil
	}
	user, stays := outlives(t, then.Key)
	if stays && !now.Exists() {
		r.missing = append(r.missing, gone{t, then, user})
		if isAccount(then) {
			r.lost[user] = true
		}
	}
	r.mu.Unlock()
	if stays && !isAccount(then) {
		return nil
	}
	switch {
	case stays:
		log, err := r.DB.Get(ctx, store.Ref{Table: store.Users, Key: userlog.LogKey(user)}, store.Consistent)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if !log.Exists() { // and if there was one then, it is written besides
			if err := r.write(ctx, userlog.Begun(user, clock.Millis(r.Now))); err != nil {
				return err
			}
		}
		w, again := accounts.DeactivatedSince(then, now, r.Now)
		if !again {
			return nil
		}
		r.mu.Lock()
		r.done.Again = append(r.done.Again, user)
		r.mu.Unlock()
		return r.write(ctx, w)
	case t == store.Users && then.Key == userlog.LogKey(userlog.UserOfPart(then.Key.Part)):
		then = userlog.RestoredOver(then, now, clock.Millis(r.Now))
	case now.Exists() && reflect.DeepEqual(then.Attrs, now.Attrs) && then.Expires.Equal(now.Expires):
		return nil
	}
	return r.write(ctx, store.Put(t, then.Key, then.Attrs).Until(then.Expires))
}

// takeAway deletes what was not there. Logs of accounts that are kept begin anew.
func (r *restore) takeAway(ctx context.Context) error {
	for _, t := range store.Tables {
		if _, all := outlives(t, store.Key{}); all {
			continue
		}
		err := r.in(ctx, r.Source, r.Copies, t, func(now, then store.Item) error {
			if then.Exists() {
				return nil
			}
			user, stays := outlives(t, now.Key)
			switch of := userlog.UserOfPart(now.Key.Part); {
			case stays && isAccount(now):
				r.mu.Lock()
				r.done.Kept = append(r.done.Kept, user)
				r.mu.Unlock()
				return r.write(ctx, userlog.Begun(user, clock.Millis(r.Now)))
			case stays:
				return nil
			case t == store.Users && now.Key == userlog.LogKey(of):
				return r.write(ctx, store.Put(t, now.Key, userlog.Restored(now, clock.Millis(r.Now)).Attrs))
			case isHead(t, now):
				r.mu.Lock()
				r.done.Lost++
				r.mu.Unlock()
			}
			return r.write(ctx, store.Delete(t, now.Key))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// revive brings back what belongs to accounts that are missing, and what belongs to
// nobody.
func (r *restore) revive(ctx context.Context) error {
	for _, m := range r.missing {
		if m.user != "" && !r.lost[m.user] || m.table == store.Server && !federation.OutlivesRestore(m.Key) {
			continue
		}
		err := r.pool.do(func() error { return r.write(ctx, store.Put(m.table, m.Key, m.Attrs).Until(m.Expires)) })
		if err != nil {
			return err
		}
	}
	return nil
}

// rooms writes the HEADs, once all that they stand on is there.
func (r *restore) rooms(ctx context.Context) error {
	for _, was := range r.heads {
		err := r.pool.do(func() error {
			now, err := r.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: was.Key}, store.Consistent)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			ws, err := timeline.Restored(was, now)
			if err != nil {
				return fmt.Errorf("the room %s: %w", roomOf(was), err)
			}
			if len(ws) > 0 {
				r.mu.Lock()
				r.done.Moved++
				r.mu.Unlock()
			}
			for _, w := range ws {
				if err := r.write(ctx, w); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// logOut deletes sessions and devices.
func (r *restore) logOut(ctx context.Context) error {
	if !r.LogOut {
		return nil
	}
	for _, t := range []*store.Table{store.Tokens, store.Users} {
		for it, err := range r.Source.Items(ctx, t) {
			if err != nil {
				return fmt.Errorf("read the table %s: %w", t.Name, err)
			}
			if !accounts.IsLogin(t, it.Key) {
				continue
			}
			if err := r.pool.do(func() error { return r.write(ctx, store.Delete(t, it.Key)) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// write counts a write, and makes it.
func (r *restore) write(ctx context.Context, w store.Write) error {
	r.mu.Lock()
	if w.Op == store.OpDelete {
		r.done.Deleted[w.Table.Name]++
	} else {
		r.done.Put[w.Table.Name]++
	}
	r.mu.Unlock()
	if r.Dry {
		return nil
	}
	return r.into.write(ctx, w)
}
