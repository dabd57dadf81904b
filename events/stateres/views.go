package stateres

import (
	"fmt"

	"github.com/virga-im/virga/events/auth"
)

// views is what one resolution reads: views of events and keys of the
// unconflicted state, each asked for once and kept. It counts what that and the
// work with it costs.
type views struct {
	source Source
	agreed func([]auth.Key) ([]string, error)
	known  map[string]*auth.View // nil for events that are not known
	base   map[auth.Key]string   // "" for keys that are not in the unconflicted state
	stats  Stats
}

func newViews(source Source, c Conflict) *views {
	w := &views{
		source: source, agreed: c.Unconflicted,
		known: make(map[string]*auth.View), base: make(map[auth.Key]string),
	}
	for _, set := range c.Sets {
		for k := range set {
			w.stats.Steps++
			w.base[k] = ""
		}
	}
	w.stats.Conflicted = len(w.base)
	return w
}

// load makes sure that views were asked for, in one batch.
func (w *views) load(ids []string) error {
	var missing []string
	for _, id := range ids {
		w.stats.Steps++
		if _, asked := w.known[id]; !asked {
			w.known[id] = nil
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	got, err := w.source.Views(missing)
	if err != nil {
		return fmt.Errorf("load auth views: %w", err)
	}
	if len(got) != len(missing) {
		return fmt.Errorf("load auth views: asked for %d, got %d", len(missing), len(got))
	}
	for i, id := range missing {
		w.known[id] = got[i]
	}
	w.stats.Loaded += len(missing)
	w.stats.Batches++
	return nil
}

// all loads events that must be known.
func (w *views) all(ids []string) ([]*auth.View, error) {
	if err := w.load(ids); err != nil {
		return nil, err
	}
	out := make([]*auth.View, len(ids))
	for i, id := range ids {
		if out[i] = w.known[id]; out[i] == nil {
			return nil, &MissingError{id}
		}
	}
	return out, nil
}

// look makes sure that keys of the unconflicted state were asked for, in one
// batch.
func (w *views) look(keys []auth.Key) error {
	var missing []auth.Key
	for _, k := range keys {
		w.stats.Steps++
		if _, asked := w.base[k]; !asked {
			w.base[k] = ""
			missing = append(missing, k)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	got, err := w.agreed(missing)
	if err != nil {
		return fmt.Errorf("read unconflicted state: %w", err)
	}
	if len(got) != len(missing) {
		return fmt.Errorf("read unconflicted state: asked for %d keys, got %d", len(missing), len(got))
	}
	for i, k := range missing {
		w.base[k] = got[i]
	}
	w.stats.Keys += len(missing)
	return nil
}

// isAgreed reports which of the events are in the unconflicted state.
func (w *views) isAgreed(events []*auth.View) (func(*auth.View) bool, error) {
	keys := make([]auth.Key, 0, len(events))
	for _, e := range events {
		if e.State {
			keys = append(keys, e.Key())
		}
	}
	if err := w.look(keys); err != nil {
		return nil, err
	}
	return func(e *auth.View) bool { return e.State && w.base[e.Key()] == e.ID }, nil
}
