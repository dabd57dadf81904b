// Package local is the embedded implementation of the stores: one process, one
// folder, no sockets.
//
// Items, messages, change records and the metadata of blobs are in one Pebble
// database; the bytes of blobs are files beside it; waits are in memory. What
// an acknowledged call wrote is on disk: calls share a sync (group commit), no
// lock is held while it runs, and no reader sees a write before it is durable.
//
// The package imitates DynamoDB where that is stricter than an embedded store:
// limits, consumed capacity, time to live, change streams that may repeat. The
// options Lag, Shuffle and Fault make the imitation as unpleasant as the
// original can be.
package local

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/virga-im/virga/shared/blob"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/wake"
)

// Options say where the data is and, in tests, how badly the stores behave.
// Only Dir is required.
type Options struct {
	// Dir holds everything. It is created if it does not exist.
	Dir string
	// FS holds Dir; nil is the disk. Tests use a Memory.
	FS vfs.FS
	// Clock tells the time; nil is clock.System.
	Clock clock.Clock
	// Rand decides about Lag and Shuffle; nil is seeded by chance.
	Rand *rand.Rand
	// Log receives errors of the background work; nil is slog.Default.
	Log *slog.Logger

	// SweepEvery is how often expired items are deleted; zero is a minute.
	SweepEvery time.Duration
	// MaxAttempts is how often a message is delivered before it becomes a dead
	// letter; zero is 10.
	MaxAttempts int
	// RetryAfter is the pause before the second delivery of a message or of a
	// batch of changes; it doubles up to a minute. Zero is a second.
	RetryAfter time.Duration
	// Concurrency is how many batches of a queue are handled at once; zero is 8.
	Concurrency int

	// Lag makes eventual reads return the value of any instant up to Lag ago.
	Lag time.Duration
	// Shuffle makes change streams repeat records and reorder them across items.
	Shuffle bool
	// Lose is asked whether change streams lose a record.
	Lose func(store.Change) bool
	// Fault is asked before every call (see Call). It may be called concurrently.
	Fault func(Call) Fault
	// NoSync leaves out the sync: a crash of the machine loses acknowledged
	// writes. For tests and benchmarks only.
	NoSync bool
}

// ErrClosed is returned by calls after Close.
var ErrClosed = errors.New("the local store is closed")

// Local is an open folder. It is safe for concurrent use.
type Local struct {
	opt   Options
	fs    vfs.FS
	clock clock.Clock
	log   *slog.Logger
	lock  *pebble.Lock
	pdb   *pebble.DB

	seed    maphash.Seed
	stripes [stripeCount]stripe
	streams map[*store.Table]*stream
	queues  map[*queue.Queue]*messages
	waits   waits
	lag     *history

	gate    sync.RWMutex // read-held by calls, so that Close waits for them
	ended   chan struct{}
	endOnce sync.Once
	endErr  atomic.Pointer[error]
	work    sync.WaitGroup // background goroutines
	calls   atomic.Uint64
	rand    struct {
		sync.Mutex
		*rand.Rand
	}
	activity activity
}

// Open opens the folder, creating it if it is new. Only one process may have
// it open.
func Open(opt Options) (*Local, error) {
	opt.SweepEvery = or(opt.SweepEvery, time.Minute)
	opt.MaxAttempts = or(opt.MaxAttempts, 10)
	opt.RetryAfter = or(opt.RetryAfter, time.Second)
	opt.Concurrency = or(opt.Concurrency, 8)
	l := &Local{
		opt:   opt,
		fs:    opt.FS,
		clock: opt.Clock,
		log:   opt.Log,
		seed:  maphash.MakeSeed(),
		ended: make(chan struct{}),
	}
	if l.fs == nil {
		l.fs = vfs.Default
	}
	if l.clock == nil {
		l.clock = clock.System{}
	}
	if l.log == nil {
		l.log = slog.Default()
	}
	l.rand.Rand = opt.Rand
	if l.rand.Rand == nil {
		l.rand.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if opt.Lag > 0 {
		l.lag = &history{}
	}
	l.activity.init()
	if err := l.openFolder(); err != nil {
		return nil, err
	}
	if err := l.load(); err != nil {
		l.pdb.Close()
		l.lock.Close()
		return nil, err
	}
	l.work.Go(l.sweepForever)
	return l, nil
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// createFolder creates the folder if it is new, so that it survives a crash.
func (l *Local) createFolder() error {
	if _, err := l.fs.Stat(l.mediaDir()); err == nil {
		return nil
	}
	if err := l.fs.MkdirAll(l.mediaDir(), 0o700); err != nil {
		return err
	}
	return errors.Join(l.syncFolder(l.fs.PathDir(l.opt.Dir)), l.syncFolder(l.opt.Dir))
}

func (l *Local) openFolder() error {
	err := l.createFolder()
	if err != nil {
		return fmt.Errorf("create the data folder %s: %w", l.opt.Dir, err)
	}
	if l.lock, err = pebble.LockDirectory(l.opt.Dir, l.fs); err != nil {
		if notOpened := new(fs.PathError); errors.As(err, &notOpened) {
			return fmt.Errorf("open the data folder %s: %w", l.opt.Dir, err)
		}
		return fmt.Errorf("the data folder %s is in use by another process: stop that one first (%w)", l.opt.Dir, err)
	}
	opts := &pebble.Options{
		FS:                 l.fs,
		Lock:               l.lock,
		FormatMajorVersion: pebble.FormatNewest,
		// The cache also pays for the memtables; what they leave is for blocks.
		CacheSize:                   24 << 20,
		MemTableSize:                4 << 20,
		MemTableStopWritesThreshold: 2,
		MaxOpenFiles:                256,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		Logger:                      quiet{l.log},
	}
	for i := range opts.Levels {
		opts.Levels[i].BlockSize = 8 << 10
		opts.Levels[i].IndexBlockSize = 256 << 10
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	// One compaction at a time needs no scheduler that looks ten times a second
	// whether there may be more: an idle process sleeps.
	opts.CompactionConcurrencyRange = func() (int, int) { return 1, 1 }
	opts.Experimental.CompactionScheduler = pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()
	if l.pdb, err = pebble.Open(l.opt.Dir, opts); err != nil {
		l.lock.Close()
		return fmt.Errorf("open the data folder %s: %w", l.opt.Dir, err)
	}
	return nil
}

// load prepares the streams and queues and finishes what a crash interrupted.
func (l *Local) load() error {
	l.streams = map[*store.Table]*stream{}
	for _, t := range store.Tables {
		if !t.Streamed {
			continue
		}
		s, err := l.loadStream(t)
		if err != nil {
			return err
		}
		l.streams[t] = s
	}
	l.queues = map[*queue.Queue]*messages{}
	for _, q := range queue.Queues {
		m, err := l.loadQueue(q)
		if err != nil {
			return err
		}
		l.queues[q] = m
	}
	return l.removeOrphans()
}

// DB returns the database.
func (l *Local) DB() store.DB { return database{l} }

// Queues returns the sender of messages.
func (l *Local) Queues() queue.Sender { return sender{l} }

// Blobs returns the media bucket.
func (l *Local) Blobs() blob.Store { return blobs{l} }

// Wake returns the waits.
func (l *Local) Wake() wake.Service { return waker{l} }

// Close ends all waits, consumers and followers, waits for the calls that are
// under way, and releases the folder. Later calls fail with ErrClosed.
func (l *Local) Close() error {
	l.end(ErrClosed)
	l.work.Wait()
	l.gate.Lock()
	defer l.gate.Unlock()
	if l.pdb == nil {
		return nil
	}
	var err error
	if !errors.Is(l.err(), ErrKilled) {
		err = l.pdb.Flush() // so that the next start has no log to replay
	}
	err = errors.Join(err, l.pdb.Close(), l.lock.Close())
	l.pdb = nil
	return err
}

// end makes every later call fail with err.
func (l *Local) end(err error) {
	l.endOnce.Do(func() {
		l.endErr.Store(&err)
		close(l.ended)
	})
}

// err is nil until Close or a kill.
func (l *Local) err() error {
	if p := l.endErr.Load(); p != nil {
		return *p
	}
	return nil
}

// syncOptions are those of acknowledged writes.
func (l *Local) syncOptions() *pebble.WriteOptions {
	if l.opt.NoSync {
		return pebble.NoSync
	}
	return pebble.Sync
}

// randN returns a number in [0,n).
func (l *Local) randN(n int) int {
	l.rand.Lock()
	defer l.rand.Unlock()
	return l.rand.IntN(n)
}

// quiet drops what Pebble tells and keeps its errors. A store that cannot write
// its log must not go on: Fatalf panics.
type quiet struct{ log *slog.Logger }

// Infof implements pebble.Logger.
func (quiet) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (q quiet) Errorf(format string, args ...any) {
	q.log.Error("pebble", "error", fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger.
func (q quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf("pebble: "+format, args...)) }

// pause waits for d, or until ctx or the Local ends, which is its error.
func (l *Local) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-l.clock.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ended:
		return l.err()
	}
}

// backoff is the pause before the delivery after the given number of them.
func (l *Local) backoff(attempts int) time.Duration {
	d := l.opt.RetryAfter
	for ; attempts > 1 && d < time.Minute; attempts-- {
		d *= 2
	}
	return min(d, max(time.Minute, l.opt.RetryAfter))
}
