package push

import (
	"bytes"
	"encoding/json"
	"strconv"
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
	if len(text) == 0 {
		return value{}, false
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var x any
	if err := dec.Decode(&x); err != nil {
		return value{}, false
	}
	v, ok := valueOf(x)
	return v, ok && v.kind != 'l'
}

func valueOf(x any) (value, bool) {
	switch x := x.(type) {
	case nil:
		return value{kind: 'n'}, true
	case bool:
		v := value{kind: 'b'}
		if x {
			v.num = 1
		}
		return v, true
	case string:
		return value{kind: 's', text: x, folded: fold(x)}, true
	case json.Number:
		n, err := strconv.ParseInt(x.String(), 10, 64)
		return value{kind: 'i', num: n}, err == nil && n >= -maxInt && n <= maxInt
	case []any:
		list := make([]value, 0, len(x))
		for _, e := range x {
			if v, ok := valueOf(e); ok && v.kind != 'l' {
				list = append(list, v)
			}
		}
		return value{kind: 'l', list: list}, true
	}
	return value{}, false
}
