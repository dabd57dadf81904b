package local

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/virga-im/virga/shared/store"
)

// history keeps what was overwritten in the last Lag, for eventual reads.
type history struct {
	mu   sync.Mutex
	past []version
}

type version struct {
	at  time.Time
	key string
	raw []byte // nil if there was no item
}

// remember is called before the item under key is overwritten.
func (l *Local) remember(key []byte, old store.Item) {
	v := version{at: l.clock.Now(), key: string(key)}
	if old.Exists() {
		v.raw, _ = encode(nil, old)
	}
	h := l.lag
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.past) > 0 && v.at.Sub(h.past[0].at) > l.opt.Lag {
		h.past = h.past[1:]
	}
	h.past = append(h.past, v)
}

// instant returns, for an instant up to Lag ago, what was then under the keys
// that were overwritten since.
func (l *Local) instant() map[string][]byte {
	at := l.clock.Now().Add(-time.Duration(l.randN(int(l.opt.Lag) + 1)))
	was := map[string][]byte{}
	l.lag.mu.Lock()
	defer l.lag.mu.Unlock()
	for _, v := range slices.Backward(l.lag.past) {
		if v.at.Before(at) {
			break
		}
		was[v.key] = v.raw
	}
	return was
}

func (l *Local) laggedGet(key []byte) ([]byte, error) {
	rows, err := l.laggedRows(key, key, append(slices.Clip(key), 0), false)
	if err != nil || !rows.next() {
		return nil, err
	}
	_, raw := rows.row()
	return raw, nil
}

// laggedRows is rows at an instant in the past. It reads the whole range.
func (l *Local) laggedRows(prefix, lower, upper []byte, reverse bool) (cursor, error) {
	now, err := l.rows(lower, upper, false)
	if err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	for now.next() {
		key, raw := now.row()
		all[string(key)] = slices.Clone(raw)
	}
	if err := now.close(); err != nil {
		return nil, err
	}
	l.stripe(prefix).waitDurable()
	for key, raw := range l.instant() {
		if key < string(lower) || key >= string(upper) {
			continue
		}
		if raw == nil {
			delete(all, key)
		} else {
			all[key] = raw
		}
	}
	f := &fixed{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		f.keys, f.raws = append(f.keys, []byte(key)), append(f.raws, all[key])
	}
	if reverse {
		slices.Reverse(f.keys)
		slices.Reverse(f.raws)
	}
	return f, nil
}
