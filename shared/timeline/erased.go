package timeline

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/id"
)

// withoutErased returns the rows, and as if they were redacted those of what a local
// user wrote who wanted to be erased, if the viewer was not in the room when it was
// written. State is left, since a room without its name helps nobody.
//
// It costs half a read unit for each local sender, and nothing where the viewer was
// there all the time.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
func (w *view) withoutErased(ctx context.Context, rows []*EventRow) ([]*EventRow, error) {
	bySender := map[string][]int{}
	for i, r := range rows {
		if !w.stranger {
			if m, err := w.membershipAt(ctx, r); err != nil {
				return nil, err
			} else if m == "join" {
				continue
			}
		}
		if canonicaljson.Get(r.JSON, "state_key") != nil {
			continue
		}
		sender, _ := canonicaljson.String(canonicaljson.Get(r.JSON, "sender"))
		if sender != w.User && id.Server(sender) == w.s.ServerName {
			bySender[sender] = append(bySender[sender], i)
		}
	}
	if len(bySender) == 0 {
		return rows, nil
	}
	users, err := w.s.Accounts.Erased(ctx, slices.Sorted(maps.Keys(bySender)))
	if err != nil {
		return nil, err
	}
	if len(users) > 0 {
		rows = slices.Clone(rows)
	}
	for user := range users {
		for _, i := range bySender[user] {
			r := *rows[i]
			r.Redacted = cmp.Or(r.Redacted, "erased")
			rows[i] = &r
		}
	}
	return rows, nil
}
