package timeline

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/virga-im/virga/shared/accounts"
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
		content, err := i.s.Accounts.AccountDataItems(ctx, i.user, accounts.IgnoredUsersType)
		i.users, i.err = accounts.IgnoredUsers(content[accounts.IgnoredUsersType]), err
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
