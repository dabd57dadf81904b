package aws

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/virga-im/virga/shared/store"
)

// attributes is an item or a key as the SDK has it.
type attributes = map[string]types.AttributeValue

func encodeKey(k store.Key) (attributes, error) {
	if k.Part == "" || k.Sort == "" {
		return nil, fmt.Errorf("key %q / %q: a part is empty", k.Part, k.Sort)
	}
	p, err := encodeValue(store.PartAttr, k.Part)
	if err != nil {
		return nil, err
	}
	s, err := encodeValue(store.SortAttr, k.Sort)
	if err != nil {
		return nil, err
	}
	return attributes{store.PartAttr: p, store.SortAttr: s}, nil
}

// encodeValue refuses what is not UTF-8, since the SDK's JSON would replace it
// silently.
func encodeValue(name string, v any) (types.AttributeValue, error) {
	switch v := v.(type) {
	case string:
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("attribute %q: not UTF-8", name)
		}
		return &types.AttributeValueMemberS{Value: v}, nil
	case int64:
		return &types.AttributeValueMemberN{Value: strconv.FormatInt(v, 10)}, nil
	case bool:
		return &types.AttributeValueMemberBOOL{Value: v}, nil
	case []byte:
		if v == nil {
			v = []byte{} // the SDK leaves out what is nil
		}
		return &types.AttributeValueMemberB{Value: v}, nil
	}
	return nil, fmt.Errorf("attribute %q holds a %T; only string, int64, bool and []byte are stored", name, v)
}

// checkName refuses names that the contract does not allow for an attribute
// that is written.
func checkName(name string) error {
	plain := name != "" && strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
	if !plain {
		return fmt.Errorf("%q is no name for an attribute: not plain ASCII", name)
	}
	if name == store.PartAttr || name == store.SortAttr || name == store.TTL {
		return fmt.Errorf("the attribute name %q is reserved", name)
	}
	return nil
}

// encodeItem returns the item of a put.
func encodeItem(w store.Write) (attributes, error) {
	item, err := encodeKey(w.Key)
	if err != nil {
		return nil, err
	}
	for name, v := range w.Attrs {
		if err := checkName(name); err != nil {
			return nil, err
		}
		if item[name], err = encodeValue(name, v); err != nil {
			return nil, err
		}
	}
	if !w.Expires.IsZero() {
		item[store.TTL] = &types.AttributeValueMemberN{Value: strconv.FormatInt(w.Expires.Unix(), 10)}
	}
	return item, nil
}

// decodeItem returns the item, or one that does not exist if there are no
// attributes.
func decodeItem(a attributes) (store.Item, error) {
	if len(a) == 0 {
		return store.Item{}, nil
	}
	it := store.Item{Attrs: make(store.Attrs, len(a))}
	for name, v := range a {
		value, err := decodeValue(v)
		if err != nil {
			return store.Item{}, fmt.Errorf("attribute %q: %w", name, err)
		}
		it.Attrs[name] = value
	}
	it.Key = store.Key{Part: it.Str(store.PartAttr), Sort: it.Str(store.SortAttr)}
	if !it.Exists() || it.Key.Sort == "" {
		return store.Item{}, errors.New("an item without a key")
	}
	if seconds, ok := it.Attrs[store.TTL].(int64); ok {
		it.Expires = time.Unix(seconds, 0).UTC()
	}
	delete(it.Attrs, store.PartAttr)
	delete(it.Attrs, store.SortAttr)
	delete(it.Attrs, store.TTL)
	return it, nil
}

func decodeValue(v types.AttributeValue) (any, error) {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return v.Value, nil
	case *types.AttributeValueMemberN:
		return strconv.ParseInt(v.Value, 10, 64)
	case *types.AttributeValueMemberBOOL:
		return v.Value, nil
	case *types.AttributeValueMemberB:
		if v.Value == nil {
			return []byte{}, nil
		}
		return v.Value, nil
	}
	return nil, fmt.Errorf("the type %T is not ours", v)
}

// written is the item that a put leaves, as a read would return it.
func written(w store.Write) store.Item {
	it := store.Item{Key: w.Key, Attrs: make(store.Attrs, len(w.Attrs))}
	for name, v := range w.Attrs {
		if b, ok := v.([]byte); ok {
			v = append([]byte{}, b...)
		}
		it.Attrs[name] = v
	}
	if !w.Expires.IsZero() {
		it.Expires = time.Unix(w.Expires.Unix(), 0).UTC()
	}
	return it
}

// expression collects the placeholders of one request. The text of expressions
// is built of nothing but placeholders, so that no name or value is ever parsed.
type expression struct {
	names  map[string]string
	values attributes
	byName map[string]string
}

func (e *expression) name(attr string) string {
	if p, ok := e.byName[attr]; ok {
		return p
	}
	if e.names == nil {
		e.names, e.byName = map[string]string{}, map[string]string{}
	}
	p := "#n" + strconv.Itoa(len(e.names))
	e.names[p], e.byName[attr] = attr, p
	return p
}

func (e *expression) value(attr string, v any) (string, error) {
	encoded, err := encodeValue(attr, v)
	if err != nil {
		return "", err
	}
	if e.values == nil {
		e.values = attributes{}
	}
	p := ":v" + strconv.Itoa(len(e.values))
	e.values[p] = encoded
	return p, nil
}

// condition returns the text of a condition, or nil for the one that always
// holds.
func (e *expression) condition(c store.Cond) (*string, error) {
	if len(c) == 0 {
		return nil, nil
	}
	clauses := make([]string, len(c))
	for i, clause := range c {
		if len(clause) == 0 {
			return nil, errors.New("an empty condition")
		}
		tests := make([]string, len(clause))
		for j, t := range clause {
			var err error
			if tests[j], err = e.test(t); err != nil {
				return nil, fmt.Errorf("condition: %w", err)
			}
		}
		clauses[i] = strings.Join(tests, " OR ")
		if len(c) > 1 && len(tests) > 1 {
			clauses[i] = "(" + clauses[i] + ")"
		}
	}
	text := strings.Join(clauses, " AND ")
	return &text, nil
}

var comparators = map[store.TestKind]string{
	store.TestEqual:    " = ",
	store.TestNotEqual: " <> ",
	store.TestLess:     " < ",
	store.TestAtMost:   " <= ",
	store.TestGreater:  " > ",
	store.TestAtLeast:  " >= ",
}

func (e *expression) test(t store.Test) (string, error) {
	name := e.name(t.Attr)
	switch t.Kind {
	case store.TestAbsent:
		return "attribute_not_exists(" + name + ")", nil
	case store.TestPresent:
		return "attribute_exists(" + name + ")", nil
	}
	comparator, ok := comparators[t.Kind]
	if !ok {
		return "", fmt.Errorf("%q: no such test", t.Attr)
	}
	if _, isBool := t.Value.(bool); isBool && t.Kind >= store.TestLess {
		return "", fmt.Errorf("%q: booleans have no order", t.Attr)
	}
	v, err := e.value(t.Attr, t.Value)
	if err != nil {
		return "", err
	}
	if t.Kind == store.TestNotEqual {
		return "(attribute_not_exists(" + name + ") OR " + name + comparator + v + ")", nil
	}
	return name + comparator + v, nil
}

// update returns the text of an update, or nil if it changes nothing. Attributes
// are in the order of their names, so that the same change is the same text.
func (e *expression) update(w store.Write) (*string, error) {
	var set, add, remove []string
	for _, name := range slices.Sorted(maps.Keys(w.SetAttrs)) {
		if err := checkName(name); err != nil {
			return nil, err
		}
		v, err := e.value(name, w.SetAttrs[name])
		if err != nil {
			return nil, err
		}
		set = append(set, e.name(name)+" = "+v)
	}
	if !w.Expires.IsZero() {
		v, _ := e.value(store.TTL, w.Expires.Unix())
		set = append(set, e.name(store.TTL)+" = "+v)
	}
	for _, name := range slices.Sorted(maps.Keys(w.AddAttrs)) {
		if err := checkName(name); err != nil {
			return nil, err
		}
		v, err := e.value(name, w.AddAttrs[name])
		if err != nil {
			return nil, err
		}
		add = append(add, e.name(name)+" "+v)
	}
	for _, name := range w.RemoveAttrs {
		if err := checkName(name); err != nil {
			return nil, err
		}
		remove = append(remove, e.name(name))
	}
	var parts []string
	for _, p := range []struct {
		verb string
		list []string
	}{{"SET ", set}, {"ADD ", add}, {"REMOVE ", remove}} {
		if len(p.list) > 0 {
			parts = append(parts, p.verb+strings.Join(p.list, ", "))
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	text := strings.Join(parts, " ")
	return &text, nil
}
