package accounts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
	_ "time/tzdata" // m.tz is checked where there is no time zone database, too

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// The fields of a profile that the specification defines.
const (
	FieldDisplayName = "displayname"
	FieldAvatarURL   = "avatar_url"
	FieldTimeZone    = "m.tz"
)

// Limits of profiles, in bytes. The first two are those of the specification.
const (
	maxProfile     = 64 << 10
	maxProfileKey  = 255
	maxDisplayName = 256
	maxAvatarURL   = 1000
)

// Profile is what a user shows of themselves: JSON values by field.
type Profile map[string]json.RawMessage

// DisplayName returns the display name, or "".
func (p Profile) DisplayName() string { return p.text(FieldDisplayName) }

// AvatarURL returns the avatar's mxc URI, or "".
func (p Profile) AvatarURL() string { return p.text(FieldAvatarURL) }

// size is how many bytes of JSON others are shown; json.Marshal would escape some
// characters, and count them sixfold.
func (p Profile) size() (int, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(p)
	return buf.Len() - 1, err
}

func (p Profile) text(field string) string {
	var text string
	_ = json.Unmarshal(p[field], &text) // absent or, from another server, no string
	return text
}

// profileRow is the PROFILE row.
type profileRow struct {
	Version int64   `db:"v"` // changes with every write
	Fields  Profile `db:"f,omitempty"`
}

// profileWrite is the index of its write in a newAccount.
const profileWrite = 1

func profileKey(user string) store.Key {
	return store.Key{Part: userlog.Part(user), Sort: "PROFILE"}
}

// newProfile returns the write of the profile of a new account.
func newProfile(user, displayName string) (store.Write, error) {
	row := profileRow{Version: 1, Fields: Profile{}}
	if displayName != "" {
		value, err := json.Marshal(displayName)
		if err != nil {
			return store.Write{}, err
		}
		if err := checkField(FieldDisplayName, value); err != nil {
			return store.Write{}, err
		}
		row.Fields[FieldDisplayName] = value
	}
	return store.Put(store.Users, profileKey(user), store.Encode(row)), nil
}

// Profile returns the profile of a local user, or M_NOT_FOUND if there is no such
// user. The map is the caller's.
func (s *Service) Profile(ctx context.Context, user string) (Profile, error) {
	row, err := s.profile(ctx, user)
	return row.Fields, err
}

func (s *Service) profile(ctx context.Context, user string) (profileRow, error) {
	if !id.ValidUser(user) {
		return profileRow{}, mxerr.InvalidParam("This is not a user id.")
	}
	it, err := s.opt.DB.Get(ctx, store.Ref{Table: store.Users, Key: profileKey(user)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return profileRow{}, mxerr.NotFound("There is no user %s on this server.", user)
	}
	if err != nil {
		return profileRow{}, fmt.Errorf("load profile of %s: %w", user, err)
	}
	row := profileRow{Fields: Profile{}}
	return row, store.Decode(it, &row)
}

// SetProfileField sets a field of a local user's profile to a JSON value. An
// empty display name or avatar is none.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname
func (s *Service) SetProfileField(ctx context.Context, user, field string, value json.RawMessage) error {
	if err := checkField(field, value); err != nil {
		return err
	}
	if (field == FieldDisplayName || field == FieldAvatarURL) && string(value) == `""` {
		return s.DeleteProfileField(ctx, user, field)
	}
	return s.changeProfile(ctx, user, func(p Profile) error {
		p[field] = value
		size, err := p.size()
		if err != nil {
			return mxerr.BadJSON("The value is not valid JSON.")
		}
		if size > maxProfile {
			return mxerr.New(http.StatusBadRequest, "M_PROFILE_TOO_LARGE", "The profile would have more than %d bytes.", maxProfile)
		}
		return nil
	})
}

// DeleteProfileField removes a field. A field that is not there is removed
// already.
func (s *Service) DeleteProfileField(ctx context.Context, user, field string) error {
	if err := checkKey(field); err != nil {
		return err
	}
	return s.changeProfile(ctx, user, func(p Profile) error {
		delete(p, field)
		return nil
	})
}

func (s *Service) changeProfile(ctx context.Context, user string, change func(Profile) error) error {
	for range maxTries {
		row, err := s.profile(ctx, user)
		if err != nil {
			return err
		}
		was, called := row.Version, names(user, row.Fields)
		if err := change(row.Fields); err != nil {
			return err
		}
		row.Version++
		w := store.Put(store.Users, profileKey(user), store.Encode(row)).If(store.Equal("v", was))
		if more := renames(user, called, names(user, row.Fields)); len(more) > 0 {
			err = s.transact(ctx, append(more, w)...)
		} else {
			err = s.write(ctx, w)
		}
		if store.Failed(err) == nil {
			return err
		}
	}
	return fmt.Errorf("change profile of %s: too many others do", user)
}

func checkKey(field string) error {
	switch {
	case len(field) > maxProfileKey:
		return mxerr.New(http.StatusBadRequest, "M_KEY_TOO_LARGE", "The name of a profile field has at most %d bytes.", maxProfileKey)
	case !id.ValidNamespaced(field):
		return mxerr.InvalidParam("The name of a profile field has the characters a-z, 0-9, '-', '_' and '.', and begins with a letter.")
	}
	return nil
}

func checkField(field string, value json.RawMessage) error {
	if err := checkKey(field); err != nil {
		return err
	}
	// Others read it: parsers that are stricter than encoding/json, and the event
	// of each room that a display name goes into.
	if _, err := canonicaljson.Check(value, canonicaljson.Lenient); err != nil {
		return mxerr.BadJSON("The value is not valid JSON: %v.", err)
	}
	limit := map[string]int{FieldDisplayName: maxDisplayName, FieldAvatarURL: maxAvatarURL, FieldTimeZone: maxProfileKey}[field]
	if limit == 0 {
		return nil
	}
	var text *string
	if json.Unmarshal(value, &text) != nil || text == nil {
		return mxerr.InvalidParam("The profile field %q is a string.", field)
	}
	if len(*text) > limit {
		return mxerr.InvalidParam("The profile field %q has at most %d bytes.", field, limit)
	}
	if field == FieldTimeZone && !validTimeZone(*text) {
		return mxerr.InvalidParam("%q is not a time zone of the IANA database.", *text)
	}
	return nil
}

func validTimeZone(name string) bool {
	if name == "" || name == "Local" {
		return false
	}
	_, err := time.LoadLocation(name)
	return err == nil
}
