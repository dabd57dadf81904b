package push

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/virga-im/virga/events/canonicaljson"
)

// maxPath is the longest path of a property that rules can name, in bytes, as it
// is written in a condition.
const maxPath = 512

// maxInt is the largest integer of canonical JSON.
const maxInt = 1<<53 - 1

// value is a property that is no object. A number that is no integer of canonical
// JSON is not a value.
type value struct {
	kind byte // one of "sibnl": string, integer, boolean, null, list
	text string
	// folded is the text without its case.
	folded string
	num    int64 // of a boolean, 0 or 1
	list   []value
}

func (v *value) equal(w *value) bool {
	return v.kind == w.kind && v.kind != 'l' && v.num == w.num && v.text == w.text
}

// parseValue reads what an event_property_is can compare with.
func parseValue(text json.RawMessage) (value, bool) {
	if !json.Valid(text) {
		return value{}, false
	}
	v, ok := valueOf(text)
	return v, ok && v.kind != 'l'
}

// valueOf reads valid JSON.
func valueOf(x []byte) (value, bool) {
	x = bytes.TrimSpace(x)
	switch x[0] {
	case 'n':
		return value{kind: 'n'}, true
	case 't':
		return value{kind: 'b', num: 1}, true
	case 'f':
		return value{kind: 'b'}, true
	case '"':
		s, ok := canonicaljson.String(x)
		return value{kind: 's', text: s, folded: fold(s)}, ok
	case '{':
		return value{}, false
	case '[':
		list := []value{}
		for e := range canonicaljson.Elements(x) {
			if v, ok := valueOf(e); ok && v.kind != 'l' {
				list = append(list, v)
			}
		}
		return value{kind: 'l', list: list}, true
	}
	n, err := strconv.ParseInt(string(x), 10, 64)
	return value{kind: 'i', num: n}, err == nil && n >= -maxInt && n <= maxInt
}
