package push

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"

	"github.com/virga-im/virga/events/canonicaljson"
)

// Event is an event as rules look at it, prepared once for all users, who may look
// at the same time.
type Event struct {
	sender     string
	body       *value
	properties map[string]*value
	facts      Facts
	counted    sync.Once
	leveled    sync.Once
}

// Facts are what rules ask about an event that is not in it.
type Facts struct {
	// RoomID is the room, which events of later room versions do not all name.
	RoomID string
	// Members is how many users are joined to the room.
	Members int
	// SenderLevel is the sender's power level; a creator above all levels has the
	// largest.
	SenderLevel int64
	// Notifications are the levels that m.room.power_levels asks for to trigger a
	// kind of notification.
	Notifications map[string]int64
	// CountMembers and LoadLevels, if not nil, find out Members, and the two others,
	// when a rule asks for them, which not all do.
	CountMembers func() int
	LoadLevels   func() (sender int64, notifications map[string]int64)
}

// defaultNotification is the level for what Notifications does not name.
const defaultNotification = 50

// NewEvent prepares an event, given as JSON.
func NewEvent(text []byte, facts Facts) (*Event, error) {
	if !canonicaljson.IsObject(text) || !json.Valid(text) {
		return nil, errors.New("read event for push rules: not a JSON object")
	}
	e := &Event{properties: make(map[string]*value, 16), facts: facts}
	e.flatten(make([]byte, 0, 128), true, text)
	e.properties["room_id"] = &value{kind: 's', text: facts.RoomID, folded: fold(facts.RoomID)}
	if s := e.properties["sender"]; s != nil && s.kind == 's' {
		e.sender = s.text
	}
	if b := e.properties["content.body"]; b != nil && b.kind == 's' {
		e.body = b
	}
	return e, nil
}

// members is how many users are joined to the room.
func (e *Event) members() int {
	e.counted.Do(func() {
		if e.facts.CountMembers != nil {
			e.facts.Members = e.facts.CountMembers()
		}
	})
	return e.facts.Members
}

// mayNotify reports whether the sender's level is enough for the kind of
// notification.
func (e *Event) mayNotify(kind string) bool {
	e.leveled.Do(func() {
		if e.facts.LoadLevels != nil {
			e.facts.SenderLevel, e.facts.Notifications = e.facts.LoadLevels()
		}
	})
	level, ok := e.facts.Notifications[kind]
	if !ok {
		level = defaultNotification
	}
	return e.facts.SenderLevel >= level
}

// Sender is who sent the event.
func (e *Event) Sender() string { return e.sender }

// flatten collects the properties under path. No rule can name what has a path
// longer than maxPath, so nesting does not multiply.
func (e *Event) flatten(path []byte, top bool, object []byte) {
	for key, x := range canonicaljson.Fields(object) {
		p := path
		if !top {
			p = append(p, '.')
		}
		if p = appendKey(p, key); len(p) > maxPath {
			continue
		}
		if canonicaljson.IsObject(x) {
			e.flatten(p, false, x)
		} else if v, ok := valueOf(x); ok {
			e.properties[string(p)] = &v
		}
	}
}

// appendKey appends a key to a path, with dots and backslashes escaped.
//
// https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths
func appendKey(path []byte, key string) []byte {
	for i := range len(key) {
		if c := key[i]; c == '.' || c == '\\' {
			path = append(path, '\\')
		}
		path = append(path, key[i])
	}
	return path
}

// canonicalPath writes a path in the one way in which flatten does: a backslash
// before anything but a dot or a backslash is one.
func canonicalPath(path string) string {
	var out, key []byte
	end := func() { out, key = appendKey(out, string(key)), key[:0] }
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path) && strings.IndexByte(`.\`, path[i+1]) >= 0:
			i++
			key = append(key, path[i])
		case c == '.':
			end()
			out = append(out, '.')
		default:
			key = append(key, c)
		}
	}
	end()
	return string(out)
}
