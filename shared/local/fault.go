package local

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/virga-im/virga/shared/store"
)

// ErrKilled is returned by the call that a fault killed and by all later ones:
// the process is dead as far as the stores are concerned. Close it and open the
// folder again, in memory as Memory.Crash leaves it.
var ErrKilled = errors.New("the process was killed here")

// Op names a kind of call.
type Op string

// The calls that Options.Fault is asked about. OpCursor and OpAck are those by
// which followers and consumers record what was handled: killed before one of
// them, the same changes or messages are delivered again.
const (
	OpGet        Op = "get"
	OpBatchGet   Op = "batch get"
	OpQuery      Op = "query"
	OpWrite      Op = "write"
	OpTransact   Op = "transact"
	OpSend       Op = "send"
	OpCursor     Op = "cursor"
	OpAck        Op = "ack"
	OpBlobPut    Op = "blob put"
	OpBlobGet    Op = "blob get"
	OpBlobStat   Op = "blob stat"
	OpBlobDelete Op = "blob delete"
	OpBlobList   Op = "blob list"
)

// A Call is about to be made.
type Call struct {
	// Seq counts the calls of this Local from 1.
	Seq    uint64
	Op     Op
	Writes bool
	// Refs are the items of a store call; the sort key of a query is empty.
	Refs []store.Ref
	// Name is the queue, the blob key or prefix, or the stream.
	Name string
}

// String is for logs of tests.
func (c Call) String() string {
	s := fmt.Sprintf("#%d %s %s", c.Seq, c.Op, c.Name)
	for _, r := range c.Refs {
		s += fmt.Sprintf(" [%s %s]", r.Table.Name, r.Key)
	}
	return s
}

// Fault is what happens to a call.
type Fault uint8

// The faults. Throttle and Conflict answer store.ErrThrottled and
// store.ErrConflict and write nothing. KillBefore kills the process before the
// call did anything, KillAfter when what it wrote is durable but nobody knows.
const (
	NoFault Fault = iota
	Throttle
	Conflict
	KillBefore
	KillAfter
)

// KillAt returns an Options.Fault that answers f to the nth of the calls for
// which match returns true, and NoFault to all others. Without a match it
// counts those that write and that somebody waits for: not OpCursor and OpAck.
//
// A test that runs a script with n = 1, 2, … until nothing is killed has seen
// the script die at every write.
func KillAt(n int64, f Fault, match func(Call) bool) func(Call) Fault {
	var seen atomic.Int64
	if match == nil {
		match = func(c Call) bool { return c.Writes && c.Op != OpCursor && c.Op != OpAck }
	}
	return func(c Call) Fault {
		if match(c) && seen.Add(1) == n {
			return f
		}
		return NoFault
	}
}

// enter begins a call: it asks for a fault and keeps Close waiting until the
// returned function is called, which is the case exactly if the error is nil.
// That function turns the call's error into what the caller is told.
func (l *Local) enter(op Op, writes bool, name string, refs func() []store.Ref) (func(*error), error) {
	fault := NoFault
	if l.opt.Fault != nil {
		if err := l.err(); err != nil {
			return nil, err
		}
		c := Call{Seq: l.calls.Add(1), Op: op, Writes: writes, Name: name}
		if refs != nil {
			c.Refs = refs()
		}
		switch fault = l.opt.Fault(c); fault {
		case Throttle:
			return nil, fmt.Errorf("%s: %w", op, store.ErrThrottled)
		case Conflict:
			return nil, fmt.Errorf("%s: %w", op, store.ErrConflict)
		case KillBefore:
			l.end(ErrKilled)
		}
	}
	l.gate.RLock()
	if err := l.err(); err != nil {
		l.gate.RUnlock()
		return nil, err
	}
	if fault == KillAfter {
		return l.leaveKilled, nil
	}
	return l.leave, nil
}

func (l *Local) leave(*error) { l.gate.RUnlock() }

func (l *Local) leaveKilled(err *error) {
	l.gate.RUnlock()
	l.end(ErrKilled)
	*err = l.err()
}

// Kill makes every later call fail with ErrKilled.
func (l *Local) Kill() { l.end(ErrKilled) }
