package timeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/shared/clock"
)

// format says how events are shown.
type format struct {
	// noRoomID leaves out room_id, as /sync does.
	noRoomID bool
	// prev adds prev_content, which costs a read for each state event.
	prev bool
	// federation shows events as servers exchange them.
	federation bool
	// bundle adds m.relations, and nested leaves threads out of them.
	bundle, nested bool
	// bundles are the m.relations, where they are known already.
	bundles map[string]*bundle
	// fields, if not nil, are all that is shown.
	fields []string
}

// unsigned is what only this server can tell of an event.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-event-format
type unsigned struct {
	Age             int64           `json:"age"`
	Membership      string          `json:"membership,omitempty"`
	PrevContent     json.RawMessage `json:"prev_content,omitempty"`
	RedactedBecause json.RawMessage `json:"redacted_because,omitempty"`
	Relations       *bundle         `json:"m.relations,omitempty"`
	ReplacesState   string          `json:"replaces_state,omitempty"`
	TransactionID   string          `json:"transaction_id,omitempty"`
}

// json encodes what most events have by hand: it is done for each of them.
func (u unsigned) json() json.RawMessage {
	if u.PrevContent != nil || u.RedactedBecause != nil || u.Relations != nil || u.ReplacesState != "" || u.TransactionID != "" {
		return encode(u)
	}
	b := strconv.AppendInt([]byte(`{"age":`), u.Age, 10)
	if u.Membership != "" {
		b = canonicaljson.AppendString(append(b, `,"membership":`...), u.Membership)
	}
	return append(b, '}')
}

// show turns events into what the user's client sees. Everything that serves
// events of rooms to clients goes through here: what was redacted is pruned, and
// each event says what it is to this user.
func (w *view) show(ctx context.Context, rows []*EventRow, f format) ([]json.RawMessage, error) {
	shown := make([]json.RawMessage, 0, len(rows))
	if len(rows) == 0 {
		return shown, nil
	}
	rows, err := w.withoutErased(ctx, rows)
	if err != nil {
		return nil, err
	}
	prev, because, err := w.companions(ctx, rows, f)
	if err != nil {
		return nil, err
	}
	bundles := f.bundles
	if f.bundle && !f.federation {
		if bundles, err = w.bundles(ctx, rows, f); err != nil {
			return nil, err
		}
	}
	for _, r := range rows {
		e, err := r.Visible()
		if err != nil {
			return nil, err
		}
		if f.federation {
			shown = append(shown, f.pick(e.JSON()))
			continue
		}
		u := unsigned{Age: w.age(e), ReplacesState: r.Prev, Relations: bundles[r.ID]}
		if !w.stranger {
			if u.Membership, err = w.membershipAt(ctx, r); err != nil {
				return nil, err
			}
		}
		if e.Sender == w.User && r.Device == w.Device && r.Device != "" {
			u.TransactionID = r.Txn
		}
		if p := prev[r.Prev]; p != nil {
			old, err := p.Visible()
			if err != nil {
				return nil, err
			}
			u.PrevContent = old.Content
		}
		if b := because[r.RedactedAt]; b != nil && r.Redacted == b.ID {
			re, err := b.Visible()
			if err != nil {
				return nil, err
			}
			u.RedactedBecause = re.ClientJSON(pdu.ClientFormat{OmitRoomID: f.noRoomID, Unsigned: unsigned{Age: w.age(re)}.json()})
		}
		shown = append(shown, f.pick(e.ClientJSON(pdu.ClientFormat{OmitRoomID: f.noRoomID, Unsigned: u.json()})))
	}
	return shown, nil
}

func (w *view) age(e *pdu.Event) int64 { return clock.Millis(w.s.Clock.Now()) - e.OriginServerTS }

// companions reads the events that the rows replaced, by id, and those that
// redacted them, by position.
func (w *view) companions(ctx context.Context, rows []*EventRow, f format) (prev map[string]*EventRow, because map[Pos]*EventRow, err error) {
	if f.federation {
		return nil, nil, nil
	}
	var ids []string
	var at []Pos
	for _, r := range rows {
		if f.prev && r.Prev != "" {
			ids = append(ids, r.Prev)
		}
		if r.RedactedAt != 0 {
			at = append(at, r.RedactedAt)
		}
	}
	if len(ids) > 0 {
		if prev, err = w.s.EventsByID(ctx, w.room, ids); err != nil {
			return nil, nil, err
		}
	}
	because, err = w.s.rowsAt(ctx, w.room, at)
	return prev, because, err
}

// Visible returns the event of the row, pruned if it was redacted.
func (r *EventRow) Visible() (*pdu.Event, error) {
	e, err := r.Event()
	if err != nil || r.Redacted == "" {
		return e, err
	}
	pruned, err := pdu.Redact(e.Version, r.JSON)
	if err != nil {
		return nil, fmt.Errorf("redact %s: %w", r.ID, err)
	}
	return pdu.Load(e.Version, r.ID, pruned)
}

// pick returns the event with only the fields that the client wants.
func (f format) pick(event json.RawMessage) json.RawMessage {
	if f.fields == nil {
		return event
	}
	return pick(event, f.fields)
}

// pick keeps the given paths of an object.
//
// https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths
func pick(object json.RawMessage, paths []string) json.RawMessage {
	whole := map[string]bool{}
	below := map[string][]string{}
	for _, p := range paths {
		if key, rest, nested := cutPath(p); nested {
			below[key] = append(below[key], rest)
		} else {
			whole[key] = true
		}
	}
	var kept []canonicaljson.Member
	for key, value := range canonicaljson.Fields(object) {
		switch {
		case whole[key]:
		case below[key] != nil && canonicaljson.IsObject(value):
			value = pick(value, below[key])
		default:
			continue
		}
		kept = append(kept, canonicaljson.Member{Key: key, Value: value})
	}
	return canonicaljson.AppendObject(nil, kept)
}

// cutPath cuts a path at its first dot that is not escaped by a backslash.
func cutPath(path string) (key, rest string, nested bool) {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path) && (path[i+1] == '.' || path[i+1] == '\\'):
			i++
			b.WriteByte(path[i])
		case c == '.':
			return b.String(), path[i+1:], true
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", false
}

// encode is json.Marshal without escaping HTML.
func encode(v any) json.RawMessage {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // only our own structs, with raw JSON that was checked
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
