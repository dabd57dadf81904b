package accounts

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// maxAccountData bounds one item, in bytes; the store takes 400 KB.
const maxAccountData = 256 << 10

// maxAllAccountData bounds all items of a user together. A client's first /sync
// is given all of them at once, and a function answers at most 6 MB.
const maxAllAccountData = 4 << 20

// maxAccountDataType bounds a type, which is part of a key.
const maxAccountDataType = 255

// AccountData is what a client keeps with an account, for all rooms (Room is
// empty) or for one.
//
// https://spec.matrix.org/v1.19/client-server-api/#client-config
type AccountData struct {
	Room    string          `json:"-"`
	Type    string          `json:"type"`
	Content json.RawMessage `json:"content"`
}

// accountDataRow is the AD row.
type accountDataRow struct {
	Room    string `db:"r,omitempty"`
	Type    string `db:"t"`
	Content string `db:"c"`
	// Version is random, and changes with every write.
	Version []byte `db:"v"`
}

const (
	accountDataPre  = "AD#"
	accountDataSize = "ADSIZE"
)

func accountDataKey(user, room, typ string) store.Key {
	return store.Key{Part: userlog.Part(user), Sort: accountDataPre + room + "#" + typ}
}

// AccountData returns the user's global account data, or with a room that of the
// room, ordered by type.
func (s *Service) AccountData(ctx context.Context, user, room string) ([]AccountData, error) {
	// A room id ends in a server name or a hash, neither of which has a '#'.
	return s.accountData(ctx, user, accountDataPre+room+"#")
}

// AllAccountData returns all account data of the user: that of each room, then
// the global data.
func (s *Service) AllAccountData(ctx context.Context, user string) ([]AccountData, error) {
	return s.accountData(ctx, user, accountDataPre)
}

func (s *Service) accountData(ctx context.Context, user, prefix string) ([]AccountData, error) {
	var all []AccountData
	q := store.Query{Table: store.Users, Part: userlog.Part(user), Consistency: store.Consistent}.Prefix(prefix)
	for it, err := range store.All(ctx, s.opt.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("read account data of %s: %w", user, err)
		}
		var row accountDataRow
		if err := store.Decode(it, &row); err != nil {
			return nil, err
		}
		all = append(all, row.public())
	}
	return all, nil
}

func (r accountDataRow) public() AccountData {
	return AccountData{Room: r.Room, Type: r.Type, Content: json.RawMessage(r.Content)}
}

// AccountDataItem returns one item, or M_NOT_FOUND.
func (s *Service) AccountDataItem(ctx context.Context, user, room, typ string) (AccountData, error) {
	row, ok, err := s.accountDataRow(ctx, user, room, typ)
	if err == nil && !ok {
		err = mxerr.NotFound("There is no account data of type %q.", typ)
	}
	return row.public(), err
}

// AccountDataItems returns the contents of those of the types of global account
// data that there are.
func (s *Service) AccountDataItems(ctx context.Context, user string, types ...string) (map[string]json.RawMessage, error) {
	refs := make([]store.Ref, len(types))
	for i, typ := range types {
		refs[i] = store.Ref{Table: store.Users, Key: accountDataKey(user, "", typ)}
	}
	items, err := store.GetAll(ctx, s.opt.DB, refs, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read account data of %s: %w", user, err)
	}
	content := make(map[string]json.RawMessage, len(items))
	for _, it := range items {
		var row accountDataRow
		if err := store.Decode(it, &row); err != nil {
			return nil, err
		}
		content[row.Type] = json.RawMessage(row.Content)
	}
	return content, nil
}

// IgnoredUsersType is the type of account data that lists whom a user ignores.
const IgnoredUsersType = "m.ignored_user_list"

// IgnoredUsers returns the users whom the content of m.ignored_user_list ignores.
// A client may write anything there; what is no list is an empty one.
//
// https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
func IgnoredUsers(content json.RawMessage) map[string]json.RawMessage {
	var list struct {
		Users map[string]json.RawMessage `json:"ignored_users"`
	}
	_ = json.Unmarshal(content, &list)
	return list.Users
}

// decidesPush are the types of global account data that decide what notifies the
// user.
var decidesPush = []string{"m.push_rules", IgnoredUsersType}

func (s *Service) accountDataRow(ctx context.Context, user, room, typ string) (row accountDataRow, ok bool, err error) {
	if !validAccountDataType(typ) {
		return row, false, nil
	}
	it, err := s.opt.DB.Get(ctx, store.Ref{Table: store.Users, Key: accountDataKey(user, room, typ)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return row, false, nil
	}
	if err != nil {
		return row, false, fmt.Errorf("load account data of %s: %w", user, err)
	}
	return row, true, store.Decode(it, &row)
}

// SetAccountData replaces an item and tells the user's devices. The content is a
// JSON object. A request that is repeated tells them again, since the first may
// have died before it did.
func (s *Service) SetAccountData(ctx context.Context, user, room, typ string, content json.RawMessage) error {
	return s.UpdateAccountData(ctx, user, room, typ, func(json.RawMessage) (json.RawMessage, error) { return content, nil })
}

// UpdateAccountData changes an item that others may change at the same time:
// change is given the content, nil if there is none, and returns the new one. It
// may be called again.
func (s *Service) UpdateAccountData(ctx context.Context, user, room, typ string, change func(json.RawMessage) (json.RawMessage, error)) error {
	err := s.again(ctx, func() error { return s.updateAccountData(ctx, user, room, typ, change) })
	if err != nil {
		return err
	}
	return s.announce(ctx, user, room, typ)
}

// updateAccountData tries once; ErrConflict means that somebody else was faster.
func (s *Service) updateAccountData(ctx context.Context, user, room, typ string, change func(json.RawMessage) (json.RawMessage, error)) error {
	row, ok, err := s.accountDataRow(ctx, user, room, typ)
	if err != nil {
		return err
	}
	was, unchanged := 0, store.NotExists()
	var content json.RawMessage
	if ok {
		was, unchanged = row.size(), store.Equal("v", row.Version)
		content = json.RawMessage(row.Content)
	}
	if content, err = change(content); err != nil {
		return err
	}
	if row, err = s.newAccountData(room, typ, content); err != nil {
		return err
	}
	ws := []store.Write{store.Put(store.Users, accountDataKey(user, room, typ), store.Encode(row)).If(unchanged)}
	if more := int64(row.size() - was); more != 0 {
		ws = append(ws, addAccountData(user, more))
	}
	if room == "" && slices.Contains(decidesPush, typ) {
		ws = append(ws, userlog.SettingsChanged(user, int64(binary.BigEndian.Uint64(row.Version)|1)))
	}
	err = s.opt.DB.Transact(ctx, ws...)
	if f := store.Failed(err); f != nil {
		if _, changed := f.Failed[0]; !changed {
			return mxerr.TooLarge("All your account data together may have at most %d bytes.", maxAllAccountData)
		}
		err = store.ErrConflict
	}
	if err != nil {
		return fmt.Errorf("write account data of %s: %w", user, err)
	}
	return nil
}

func (s *Service) newAccountData(room, typ string, content json.RawMessage) (row accountDataRow, err error) {
	switch {
	case !validAccountDataType(typ):
		return row, mxerr.InvalidParam("A type of account data is UTF-8 of 1 to %d bytes.", maxAccountDataType)
	case len(content) > maxAccountData:
		return row, mxerr.TooLarge("The content may have at most %d bytes.", maxAccountData)
	}
	row = accountDataRow{Room: room, Type: typ, Content: string(content), Version: make([]byte, 8)}
	return row, s.random(row.Version)
}

// size is what an item counts, some bytes for what surrounds it included.
func (r accountDataRow) size() int { return len(r.Room) + len(r.Type) + len(r.Content) + 100 }

// addAccountData counts what an item adds, and fails if it is too much.
func addAccountData(user string, more int64) store.Write {
	w := store.Update(store.Users, store.Key{Part: userlog.Part(user), Sort: accountDataSize}).Add("n", more)
	if more < 0 {
		return w
	}
	return w.If(store.AnyOf(store.Absent("n"), store.AtMost("n", maxAllAccountData-more)))
}

func (s *Service) announce(ctx context.Context, user, room, typ string) error {
	_, err := s.opt.Log.Append(ctx, user, userlog.Entry{Kind: userlog.KindAccountData, Room: room, Type: typ})
	return err
}

func validAccountDataType(typ string) bool {
	return typ != "" && len(typ) <= maxAccountDataType && utf8.ValidString(typ)
}
