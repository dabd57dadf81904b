package local

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/virga-im/virga/shared/store"
)

// holds evaluates a condition on the item as it is; the zero item is absent.
func holds(c store.Cond, it store.Item) bool {
	for _, clause := range c {
		any := false
		for _, t := range clause {
			if any = passes(t, it); any {
				break
			}
		}
		if !any {
			return false
		}
	}
	return true
}

func passes(t store.Test, it store.Item) bool {
	have := attribute(it, t.Attr)
	switch {
	case t.Kind == store.TestAbsent:
		return have == nil
	case t.Kind == store.TestPresent:
		return have != nil
	case have == nil:
		return t.Kind == store.TestNotEqual
	}
	order, sameType := compare(have, t.Value)
	if !sameType {
		return t.Kind == store.TestNotEqual
	}
	switch t.Kind {
	case store.TestEqual:
		return order == 0
	case store.TestNotEqual:
		return order != 0
	case store.TestLess:
		return order < 0
	case store.TestAtMost:
		return order <= 0
	case store.TestGreater:
		return order > 0
	}
	return order >= 0
}

// attribute returns what a test of the name sees, or nil.
func attribute(it store.Item, name string) any {
	switch {
	case !it.Exists():
		return nil
	case name == store.PartAttr:
		return it.Key.Part
	case name == store.SortAttr:
		return it.Key.Sort
	case name == store.TTL && !it.Expires.IsZero():
		return it.Expires.Unix()
	}
	return it.Attrs[name]
}

func compare(a, b any) (order int, sameType bool) {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return cmp.Compare(a, b), ok
	case int64:
		b, ok := b.(int64)
		return cmp.Compare(a, b), ok
	case []byte:
		b, ok := b.([]byte)
		return bytes.Compare(a, b), ok
	case bool:
		b, ok := b.(bool)
		if a == b {
			return 0, ok
		}
		return 1, ok
	}
	return 0, false
}

// apply returns the item as the write makes it from old, which it does not
// change. The result of a delete does not exist; that of a check is old.
func apply(w store.Write, old store.Item) (store.Item, error) {
	switch w.Op {
	case store.OpCheck:
		return old, nil
	case store.OpDelete:
		return store.Item{}, nil
	case store.OpPut:
		it := store.Item{Key: w.Key, Attrs: make(store.Attrs, len(w.Attrs)), Expires: seconds(w)}
		for name, v := range w.Attrs {
			it.Attrs[name] = owned(v)
		}
		return it, nil
	case store.OpUpdate:
		return update(w, old)
	}
	return store.Item{}, fmt.Errorf("write %s: no such kind of write", w.Key)
}

func update(w store.Write, old store.Item) (store.Item, error) {
	it := store.Item{Key: w.Key, Attrs: make(store.Attrs, len(old.Attrs)+len(w.SetAttrs)), Expires: old.Expires}
	for name, v := range old.Attrs {
		it.Attrs[name] = v
	}
	for name, v := range w.SetAttrs {
		it.Attrs[name] = owned(v)
	}
	for name, n := range w.AddAttrs {
		have, isInt := it.Attrs[name].(int64)
		if !isInt && it.Attrs[name] != nil {
			return store.Item{}, fmt.Errorf("update %s: attribute %q holds a %T; only numbers are added to", w.Key, name, it.Attrs[name])
		}
		if n > 0 && have > math.MaxInt64-n || n < 0 && have < math.MinInt64-n {
			return store.Item{}, fmt.Errorf("update %s: attribute %q: %w", w.Key, name, errOverflow)
		}
		it.Attrs[name] = have + n
	}
	for _, name := range w.RemoveAttrs {
		delete(it.Attrs, name)
	}
	if !w.Expires.IsZero() {
		it.Expires = seconds(w)
	}
	return it, nil
}

var errOverflow = errors.New("the sum is no int64")

// seconds is the time to live as it is stored.
func seconds(w store.Write) (t time.Time) {
	if w.Expires.IsZero() {
		return t
	}
	return time.Unix(w.Expires.Unix(), 0).UTC()
}

func owned(v any) any {
	if b, ok := v.([]byte); ok {
		return append([]byte{}, b...)
	}
	return v
}
