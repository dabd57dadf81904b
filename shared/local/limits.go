package local

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/virga-im/virga/shared/store"
)

// What breaks a limit of the contract is a programming error, found here as
// DynamoDB would find it: before anything is read or written.

func checkKey(k store.Key) error {
	if err := checkPart(k.Part); err != nil {
		return err
	}
	switch {
	case k.Sort == "":
		return fmt.Errorf("key %s: the sort key is empty", k)
	case len(k.Sort) > store.MaxSortKey:
		return fmt.Errorf("key of %q: the sort key is longer than %d bytes", k.Part, store.MaxSortKey)
	case !utf8.ValidString(k.Sort):
		return fmt.Errorf("key %q: not UTF-8", k.Sort)
	}
	return nil
}

func checkPart(part string) error {
	switch {
	case part == "":
		return errors.New("the partition key is empty")
	case len(part) > store.MaxPartKey:
		return fmt.Errorf("the partition key is longer than %d bytes", store.MaxPartKey)
	case !utf8.ValidString(part):
		return fmt.Errorf("key %q: not UTF-8", part)
	}
	return nil
}

func checkName(name string) error {
	if name == "" || len(name) > 255 {
		return fmt.Errorf("%q is no name for an attribute", name)
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return fmt.Errorf("%q is no name for an attribute: not plain ASCII", name)
		}
	}
	if name == store.PartAttr || name == store.SortAttr || name == store.TTL {
		return fmt.Errorf("the attribute name %q is reserved", name)
	}
	return nil
}

func checkValue(name string, v any) error {
	switch v := v.(type) {
	case int64, bool, []byte:
		return nil
	case string:
		if !utf8.ValidString(v) {
			return fmt.Errorf("attribute %q: not UTF-8", name)
		}
		return nil
	}
	return fmt.Errorf("attribute %q holds a %T; only string, int64, bool and []byte are stored", name, v)
}

func checkAttrs(a store.Attrs) error {
	for name, v := range a {
		if err := checkName(name); err != nil {
			return err
		}
		if err := checkValue(name, v); err != nil {
			return err
		}
	}
	return nil
}

func checkWrite(w store.Write) error {
	if err := checkKey(w.Key); err != nil {
		return err
	}
	if w.Op != store.OpPut && w.Attrs != nil {
		return fmt.Errorf("write %s: only a put has Attrs", w.Key)
	}
	if w.Op != store.OpUpdate && (w.SetAttrs != nil || w.AddAttrs != nil || w.RemoveAttrs != nil) {
		return fmt.Errorf("write %s: only an update sets, adds or removes", w.Key)
	}
	if (w.Op == store.OpDelete || w.Op == store.OpCheck) && !w.Expires.IsZero() {
		return fmt.Errorf("write %s: only a put or update has a time to live", w.Key)
	}
	if err := checkAttrs(w.Attrs); err != nil {
		return err
	}
	if err := checkUpdate(w); err != nil {
		return fmt.Errorf("update %s: %w", w.Key, err)
	}
	return checkCond(w.Cond)
}

// checkUpdate refuses what DynamoDB calls overlapping paths.
func checkUpdate(w store.Write) error {
	if err := checkAttrs(w.SetAttrs); err != nil {
		return err
	}
	for name := range w.AddAttrs {
		if err := checkName(name); err != nil {
			return err
		}
		if _, twice := w.SetAttrs[name]; twice {
			return fmt.Errorf("attribute %q is changed twice", name)
		}
	}
	for i, name := range w.RemoveAttrs {
		if err := checkName(name); err != nil {
			return err
		}
		_, twice := w.SetAttrs[name]
		if _, added := w.AddAttrs[name]; added {
			twice = true
		}
		for _, other := range w.RemoveAttrs[:i] {
			twice = twice || other == name
		}
		if twice {
			return fmt.Errorf("attribute %q is changed twice", name)
		}
	}
	return nil
}

func checkCond(c store.Cond) error {
	for _, clause := range c {
		if len(clause) == 0 {
			return errors.New("an empty condition")
		}
		for _, t := range clause {
			if t.Kind == store.TestAbsent || t.Kind == store.TestPresent {
				continue
			}
			if t.Kind > store.TestAtLeast {
				return fmt.Errorf("condition on %q: no such test", t.Attr)
			}
			if err := checkValue(t.Attr, t.Value); err != nil {
				return fmt.Errorf("condition: %w", err)
			}
			if _, isBool := t.Value.(bool); isBool && t.Kind >= store.TestLess {
				return fmt.Errorf("condition on %q: booleans have no order", t.Attr)
			}
		}
	}
	return nil
}
