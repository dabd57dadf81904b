package store

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// Encode turns a struct into attributes. Fields are named by the tag
// `db:"name"`, or `db:"name,omitempty"` to leave out a zero value; fields
// without the tag, or with `db:"-"`, are ignored. Strings, booleans, all integers and []byte are
// stored as such, any other type as a string of JSON.
//
// Readers tolerate absent attributes and writers may add new ones, since old
// and new functions run side by side during a deploy.
func Encode(row any) Attrs {
	v := reflect.Indirect(reflect.ValueOf(row))
	plan := planOf(v.Type())
	a := make(Attrs, len(plan))
	for _, f := range plan {
		fv := v.Field(f.index)
		if f.omitEmpty && fv.IsZero() {
			continue
		}
		switch {
		case f.json:
			text, err := json.Marshal(fv.Interface())
			if err != nil {
				panic(fmt.Sprintf("store: encode %s.%s: %v", v.Type(), f.name, err))
			}
			a[f.name] = string(text)
		case fv.Kind() == reflect.String:
			a[f.name] = fv.String()
		case fv.Kind() == reflect.Bool:
			a[f.name] = fv.Bool()
		case fv.CanInt():
			a[f.name] = fv.Int()
		case fv.CanUint():
			a[f.name] = int64(fv.Uint())
		default:
			a[f.name] = append([]byte{}, fv.Bytes()...)
		}
	}
	return a
}

// Decode fills the struct that row points to from an item's attributes, as
// Encode wrote them. Absent attributes leave the field as it is. Fields of bytes share
// their memory with the item: bodies of events are most of what is read.
func Decode(it Item, row any) error {
	v := reflect.ValueOf(row).Elem()
	for _, f := range planOf(v.Type()) {
		attr, ok := it.Attrs[f.name]
		if !ok {
			continue
		}
		fv := v.Field(f.index)
		if !assign(fv, attr, f.json) {
			return fmt.Errorf("decode %s: attribute %q holds a %T", it.Key, f.name, attr)
		}
	}
	return nil
}

func assign(fv reflect.Value, attr any, isJSON bool) bool {
	switch a := attr.(type) {
	case string:
		if isJSON {
			return json.Unmarshal([]byte(a), fv.Addr().Interface()) == nil
		}
		if fv.Kind() != reflect.String {
			return false
		}
		fv.SetString(a)
	case bool:
		if fv.Kind() != reflect.Bool {
			return false
		}
		fv.SetBool(a)
	case int64:
		switch {
		case fv.CanInt():
			fv.SetInt(a)
		case fv.CanUint():
			fv.SetUint(uint64(a))
		default:
			return false
		}
	case []byte:
		if fv.Kind() != reflect.Slice || fv.Type().Elem().Kind() != reflect.Uint8 {
			return false
		}
		fv.SetBytes(a)
	default:
		return false
	}
	return true
}

type field struct {
	index     int
	name      string
	omitEmpty bool
	json      bool
}

var plans sync.Map // reflect.Type → []field

func planOf(t reflect.Type) []field {
	if p, ok := plans.Load(t); ok {
		return p.([]field)
	}
	var plan []field
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag.Get("db")
		if tag == "" || tag == "-" {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		f := field{index: i, name: name, omitEmpty: opts == "omitempty"}
		switch k := sf.Type.Kind(); {
		case k == reflect.String, k == reflect.Bool:
		case k >= reflect.Int && k <= reflect.Uint64:
		case k == reflect.Slice && sf.Type.Elem().Kind() == reflect.Uint8 && sf.Type != reflect.TypeFor[json.RawMessage]():
		default:
			f.json = true
		}
		plan = append(plan, f)
	}
	plans.Store(t, plan)
	return plan
}
