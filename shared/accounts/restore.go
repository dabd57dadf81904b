package accounts

import (
	"strings"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// A server that is put back to an earlier time in its own tables knows more than it
// did then: who has registered, changed the password, logged out or been deactivated
// since. That is not undone, or what was revoked would be good again.

// OutlivesRestore reports whether a row of the users table stays as it is when the
// server is put back, and whose it is. All rows of the tokens table do.
func OutlivesRestore(k store.Key) (user string, ok bool) {
	if strings.HasPrefix(k.Part, "UD#") {
		if i := strings.IndexByte(k.Sort, '#'); i >= 0 {
			return k.Sort[i+1:], true
		}
		return "", false
	}
	user = userlog.UserOfPart(k.Part)
	switch {
	case k.Part != userlog.Part(user):
		return "", false
	case k == accountKey(user), k == profileKey(user), strings.HasPrefix(k.Sort, devicePre):
		return user, true
	}
	return "", false
}

// DeactivatedSince returns the write that has an account deactivated once more, if it
// is now and was not then: it is in its rooms again.
func DeactivatedSince(then, now store.Item, at time.Time) (store.Write, bool) {
	if !now.Bool("x") || then.Bool("x") {
		return store.Write{}, false
	}
	user := userlog.UserOfPart(now.Key.Part)
	row := store.Attrs{"at": clock.Millis(at)}
	if now.Bool("er") {
		row["er"] = true
	}
	return store.Put(store.Server, store.Key{Part: deactivationPart, Sort: user}, row), true
}

// IsDeactivation reports whether a row of the server table is one of Deactivations.
func IsDeactivation(k store.Key) bool { return k.Part == deactivationPart }

// IsLogin reports whether a row is a session or a device. A server without them has
// all its accounts, and nobody is logged in.
func IsLogin(t *store.Table, k store.Key) bool {
	switch t {
	case store.Tokens:
		return strings.HasPrefix(k.Part, "S#") && k.Sort == "S"
	case store.Users:
		return strings.HasPrefix(k.Sort, devicePre) && k.Part == userlog.Part(userlog.UserOfPart(k.Part))
	}
	return false
}
