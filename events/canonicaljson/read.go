package canonicaljson

import (
	"bytes"
	"encoding/json"
	"iter"
	"strconv"
)

// The functions of this file read JSON that has been checked: by Encode, Parse
// or Check, or because it comes from our own store. On anything else they may
// answer nonsense, but they do not panic. Keys match exactly.

// Fields yields the members of an object in the order they are written. For a
// value that is not an object it yields nothing.
func Fields(obj []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for i := enter(obj, '{'); i < len(obj) && obj[i] == '"'; {
			keyEnd := skip(obj, i)
			key := obj[i:keyEnd]
			start := blank(obj, keyEnd)
			if start < len(obj) && obj[start] == ':' {
				start = blank(obj, start+1)
			}
			end := skip(obj, start)
			if !yield(keyString(key), obj[start:end:end]) {
				return
			}
			i = after(obj, end)
		}
	}
}

// Get returns the value of a key of an object, following further keys into
// nested objects, or nil when it is not there. An explicit null is []byte("null").
func Get(obj []byte, path ...string) []byte {
	for _, key := range path {
		obj = get(obj, key)
	}
	return obj
}

func get(obj []byte, want string) []byte {
	for i := enter(obj, '{'); i < len(obj) && obj[i] == '"'; {
		keyEnd := skip(obj, i)
		key := obj[i:keyEnd]
		start := blank(obj, keyEnd)
		if start < len(obj) && obj[start] == ':' {
			start = blank(obj, start+1)
		}
		end := skip(obj, start)
		if len(key) >= 2 {
			inner := key[1 : len(key)-1]
			if string(inner) == want || bytes.IndexByte(inner, '\\') >= 0 && keyString(key) == want {
				return obj[start:end:end]
			}
		}
		i = after(obj, end)
	}
	return nil
}

// Elements yields the values of an array. For a value that is not an array it
// yields nothing.
func Elements(arr []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := enter(arr, '['); i < len(arr) && arr[i] != ']'; {
			end := skip(arr, i)
			if end == i || !yield(arr[i:end:end]) {
				return
			}
			i = after(arr, end)
		}
	}
}

// IsObject reports whether a value is an object.
func IsObject(value []byte) bool { return first(value) == '{' }

// IsArray reports whether a value is an array.
func IsArray(value []byte) bool { return first(value) == '[' }

// String returns a string value. ok is false when the value is not a string.
func String(value []byte) (s string, ok bool) {
	value = bytes.TrimSpace(value)
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return "", false
	}
	return keyString(value), true
}

// Int returns an integer value. ok is false when its canonical form is not that
// of an integer (1e3 is 1000, but 1.0 stays 1.0) or does not fit an int64.
func Int(value []byte) (n int64, ok bool) {
	value = bytes.TrimSpace(value)
	if len(value) == 0 || value[0] != '-' && (value[0] < '0' || value[0] > '9') {
		return 0, false
	}
	if bytes.ContainsAny(value, "eE") && json.Valid(value) {
		value = appendFraction(nil, value)
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	return n, err == nil
}

// Bool returns a boolean value. ok is false when the value is not a boolean.
func Bool(value []byte) (b, ok bool) {
	switch string(bytes.TrimSpace(value)) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

func first(value []byte) byte {
	if i := blank(value, 0); i < len(value) {
		return value[i]
	}
	return 0
}

// keyString decodes a quoted string.
func keyString(quoted []byte) string {
	if len(quoted) < 2 {
		return ""
	}
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return intern(inner)
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return ""
	}
	return s
}

// enter returns the index of the first item of an object or array.
func enter(b []byte, open byte) int {
	i := blank(b, 0)
	if i >= len(b) || b[i] != open {
		return len(b)
	}
	return blank(b, i+1)
}

// after returns the index of the item after the comma at or behind i.
func after(b []byte, i int) int {
	i = blank(b, i)
	if i >= len(b) || b[i] != ',' {
		return len(b)
	}
	return blank(b, i+1)
}

func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skip returns the index behind the value that begins at i.
func skip(b []byte, i int) int {
	if i >= len(b) {
		return len(b)
	}
	switch b[i] {
	case '"':
		return skipText(b, i)
	case '{', '[':
		depth := 0
		for i < len(b) {
			switch b[i] {
			case '"':
				i = skipText(b, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return len(b)
	}
	for i < len(b) {
		switch b[i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r':
			return i
		}
		i++
	}
	return i
}

func skipText(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}
