package main

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"time"
)

// schemas collects the JSON schemas of types, one for each named struct.
type schemas struct {
	done  map[string]any
	names map[reflect.Type]string
}

func newSchemas() *schemas {
	return &schemas{done: map[string]any{}, names: map[reflect.Type]string{}}
}

var (
	marshaler     = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	rawMessage    = reflect.TypeFor[json.RawMessage]()
)

// of returns the schema of a type as encoding/json writes it. A type that writes
// itself may be anything.
func (s *schemas) of(t reflect.Type) map[string]any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == rawMessage, t.Kind() == reflect.Interface:
		return map[string]any{}
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string"}
	case t.Implements(marshaler), reflect.PointerTo(t).Implements(marshaler):
		return map[string]any{}
	case t.Implements(textMarshaler), reflect.PointerTo(t).Implements(textMarshaler):
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return map[string]any{"type": "string"} // base64
		}
		return map[string]any{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		if t.Name() == "" || t.NumField() == 0 {
			return s.object(t)
		}
		return map[string]any{"$ref": "#/components/schemas/" + s.define(t)}
	}
	if t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 {
		return map[string]any{"type": "integer"}
	}
	return map[string]any{}
}

// define gives a struct its place among the components. The place is taken
// before the struct is looked into, so that a type may hold itself.
func (s *schemas) define(t reflect.Type) string {
	if name, ok := s.names[t]; ok {
		return name
	}
	// Packages name their types for themselves, so two of them may agree.
	name := letters(t.Name())
	if _, taken := s.done[name]; taken {
		name = letters(t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:] + "_" + t.Name())
	}
	s.names[t] = name
	s.done[name] = nil
	s.done[name] = s.object(t)
	return name
}

func (s *schemas) object(t reflect.Type) map[string]any {
	properties := map[string]any{}
	var required []string
	for _, f := range fieldsOf(t) {
		if !fromBody(f) {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		properties[name] = s.of(f.Type)
		if f.Tag.Get("required") == "true" {
			required = append(required, name)
		}
	}
	o := map[string]any{"type": "object"}
	if len(properties) > 0 {
		o["properties"] = properties
	}
	if required != nil {
		o["required"] = required
	}
	return o
}

// fieldsOf lists the fields of a struct that are visible to encoding/json or to
// package route, those of embedded structs included.
func fieldsOf(t reflect.Type) []reflect.StructField {
	if t == nil {
		return nil
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var all []reflect.StructField
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case f.Anonymous && f.Tag.Get("json") == "":
			all = append(all, fieldsOf(f.Type)...)
		case f.IsExported():
			all = append(all, f)
		}
	}
	return all
}

// fromBody reports whether a field is a key of the JSON object.
func fromBody(f reflect.StructField) bool {
	for _, elsewhere := range []string{"path", "query", "header"} {
		if f.Tag.Get(elsewhere) != "" {
			return false
		}
	}
	return f.Tag.Get("json") != "-" && f.Tag.Get("body") == ""
}

// namedTypes returns the type and what it points to or lists, as far as they
// have names.
func namedTypes(t reflect.Type) []reflect.Type {
	var all []reflect.Type
	for t != nil {
		if t.Name() != "" {
			return append(all, t)
		}
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Array:
			t = t.Elem()
		default:
			return all
		}
	}
	return all
}

// letters drops what a component's name cannot hold, such as the brackets of a
// generic type.
func letters(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '_' {
			return r
		}
		return -1
	}, name)
}
