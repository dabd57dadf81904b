package timeline

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/mxerr"
)

// ignores is whom a user ignores. It is read when it matters for the first time.
//
// https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
type ignores struct {
	s     *Service
	user  string
	once  sync.Once
	users map[string]json.RawMessage
	err   error
}

func (i *ignores) has(ctx context.Context, user string) (bool, error) {
	_, err := i.any(ctx)
	_, ignored := i.users[user]
	return ignored, err
}

// any reports whether the user ignores anybody.
func (i *ignores) any(ctx context.Context) (bool, error) {
	i.once.Do(func() {
		data, err := i.s.Accounts.AccountDataItem(ctx, i.user, "", "m.ignored_user_list")
		if mxerr.Is(err, "M_NOT_FOUND") {
			return
		}
		if i.err = err; err != nil {
			return
		}
		var list struct {
			Users map[string]json.RawMessage `json:"ignored_users"`
		}
		_ = json.Unmarshal(data.Content, &list) // a client may write anything there
		i.users = list.Users
	})
	return len(i.users) > 0, i.err
}

// wantsInvite reports whether the user wants to hear of an invite. One that was
// accepted before the user decided so is not shown any more.
func (y *syncing) wantsInvite(ctx context.Context, sender string) (bool, error) {
	y.inviteOnce.Do(func() { y.inviteRules, y.inviteErr = y.s.Accounts.InviteRules(ctx, y.User) })
	if y.inviteErr != nil {
		return false, y.inviteErr
	}
	return y.inviteRules.Of(sender) == accounts.InviteAllowed, nil
}
