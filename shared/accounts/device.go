package accounts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// Device is a device of a local user.
type Device struct {
	ID          string
	DisplayName string
	// LastSeen is when the device made a request, to within an hour; LastIP and
	// UserAgent are where from and what with, empty before the first one.
	LastSeen          time.Time
	LastIP, UserAgent string
	// Session is the name of the device's session. One that logs in anew has
	// another.
	Session string
}

// deviceRow is the DEV row. Times are milliseconds.
type deviceRow struct {
	Name     string `db:"n,omitempty"`
	Created  int64  `db:"c"`
	LastSeen int64  `db:"ls,omitempty"`
	// Session is the name of the one session of the device.
	Session string `db:"se"`
}

const devicePre = "DEV#"

// maxDeviceName bounds what a client may call a device, in bytes.
const maxDeviceName = 256

func deviceKey(user, device string) store.Key {
	return store.Key{Part: userlog.Part(user), Sort: devicePre + device}
}

// put writes the row if the device has still the given session, none if empty.
func (r deviceRow) put(user, device, session string) store.Write {
	w := store.Put(store.Users, deviceKey(user, device), store.Encode(r))
	if session == "" {
		return w.If(store.NotExists())
	}
	return w.If(store.Equal("se", session))
}

func (d DeviceRequest) check() error {
	if d.DeviceID != "" && !id.ValidDevice(d.DeviceID) {
		return mxerr.InvalidParam("A device id has at most %d bytes and no control characters.", id.MaxLength)
	}
	return checkDeviceName(d.DisplayName)
}

func checkDeviceName(name string) error {
	if len(name) > maxDeviceName {
		return mxerr.InvalidParam("The display name of a device has at most %d bytes.", maxDeviceName)
	}
	return nil
}

func (s *Service) device(ctx context.Context, user, device string) (row deviceRow, ok bool, err error) {
	if !id.ValidDevice(device) {
		return row, false, nil
	}
	it, err := s.opt.DB.Get(ctx, store.Ref{Table: store.Users, Key: deviceKey(user, device)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return row, false, nil
	}
	if err != nil {
		return row, false, fmt.Errorf("load device %s of %s: %w", device, user, err)
	}
	return row, true, store.Decode(it, &row)
}

// Device returns a device of the user, or M_NOT_FOUND.
func (s *Service) Device(ctx context.Context, user, device string) (Device, error) {
	row, ok, err := s.device(ctx, user, device)
	if err != nil {
		return Device{}, err
	}
	if !ok {
		return Device{}, unknownDevice(device)
	}
	all, err := s.withSessions(ctx, []string{device}, []deviceRow{row})
	if err != nil {
		return Device{}, err
	}
	return all[0], nil
}

func unknownDevice(device string) *mxerr.Error {
	return mxerr.NotFound("You have no device %q.", device)
}

// Devices returns all devices of the user.
func (s *Service) Devices(ctx context.Context, user string) ([]Device, error) {
	var ids []string
	var rows []deviceRow
	err := s.eachDevice(ctx, user, func(device string, row deviceRow) error {
		ids, rows = append(ids, device), append(rows, row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.withSessions(ctx, ids, rows)
}

// SessionNames returns the names of the sessions of the user's devices, by device.
// It reads nothing but the devices.
func (s *Service) SessionNames(ctx context.Context, user string) (map[string]string, error) {
	names := map[string]string{}
	err := s.eachDevice(ctx, user, func(device string, row deviceRow) error {
		names[device] = row.Session
		return nil
	})
	return names, err
}

// withSessions returns the devices with what their sessions know of their use.
func (s *Service) withSessions(ctx context.Context, ids []string, rows []deviceRow) ([]Device, error) {
	all := make([]Device, len(ids))
	refs := make([]store.Ref, len(ids))
	bySession := make(map[string]*Device, len(ids))
	for i, row := range rows {
		all[i] = Device{ID: ids[i], DisplayName: row.Name, LastSeen: time.UnixMilli(row.LastSeen).UTC(), Session: row.Session}
		refs[i] = store.Ref{Table: store.Tokens, Key: sessionKey(row.Session)}
		bySession[refs[i].Key.Part] = &all[i]
	}
	items, err := store.GetAll(ctx, s.opt.DB, refs, store.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	for _, it := range items {
		var session sessionRow
		if err := store.Decode(it, &session); err != nil {
			return nil, err
		}
		d := bySession[it.Key.Part]
		if session.Seen > 0 {
			d.LastSeen = time.UnixMilli(session.Seen).UTC()
		}
		d.LastIP, d.UserAgent = session.IP, session.UserAgent
	}
	return all, nil
}

// How much is written of where a session is used: an address fits, and of a user
// agent what tells a person enough.
const (
	seenEvery    = time.Hour
	maxAddress   = 64
	maxUserAgent = 256
)

// Saw notes that the session is used, at most once an hour.
func (s *Service) Saw(ctx context.Context, c Session, ip, userAgent string) error {
	now := s.opt.Clock.Now()
	if c.seen > millis(now.Add(-seenEvery)) {
		return nil
	}
	w := store.Update(store.Tokens, sessionKey(c.name)).Set("ls", millis(now)).
		Set("ip", clip(ip, maxAddress)).Set("ua", clip(userAgent, maxUserAgent)).
		If(store.Exists())
	if c.seen == 0 {
		w = w.If(store.Absent("ls"))
	} else {
		w = w.If(store.Equal("ls", c.seen))
	}
	err := s.write(ctx, w)
	if store.Failed(err) != nil {
		return nil // another request noted it, or logged out
	}
	return err
}

// clip returns at most n bytes of a text, as UTF-8.
func clip(text string, n int) string {
	if len(text) > n {
		text = text[:n]
	}
	return strings.ToValidUTF8(text, "")
}

func (s *Service) eachDevice(ctx context.Context, user string, f func(device string, row deviceRow) error) error {
	q := store.Query{Table: store.Users, Part: userlog.Part(user), Consistency: store.Consistent}.Prefix(devicePre)
	for it, err := range store.All(ctx, s.opt.DB, q) {
		if err != nil {
			return fmt.Errorf("read devices of %s: %w", user, err)
		}
		var row deviceRow
		if err := store.Decode(it, &row); err != nil {
			return err
		}
		if err := f(strings.TrimPrefix(it.Key.Sort, devicePre), row); err != nil {
			return err
		}
	}
	return nil
}

// SetDeviceName changes what a device is called.
func (s *Service) SetDeviceName(ctx context.Context, user, device, name string) error {
	if err := checkDeviceName(name); err != nil {
		return err
	}
	if !id.ValidDevice(device) {
		return unknownDevice(device)
	}
	err := s.write(ctx, store.Update(store.Users, deviceKey(user, device)).Set("n", name).If(store.Exists()))
	if store.Failed(err) != nil {
		return unknownDevice(device)
	}
	return err
}

// DeleteDevice logs a device out and forgets it: its session ends in the same
// transaction. A device that does not exist is deleted already. What others keep
// for a device, such as its keys, they delete before, so that a repeated request
// can finish.
func (s *Service) DeleteDevice(ctx context.Context, user, device string) error {
	for range maxTries {
		row, ok, err := s.device(ctx, user, device)
		if err != nil || !ok {
			return err
		}
		err = s.transact(ctx,
			store.Delete(store.Users, deviceKey(user, device)).If(store.Equal("se", row.Session)),
			store.Delete(store.Tokens, sessionKey(row.Session)))
		if store.Failed(err) == nil {
			return err
		}
		// The device was logged in anew meanwhile; that session ends too.
	}
	return fmt.Errorf("delete device %s of %s: too many others log it in", device, user)
}

// DeleteDevices deletes those of the devices that there are; the one of the
// session that asks goes last, so that a request which died on the way can be
// repeated. What it costs does not grow with the number of names.
func (s *Service) DeleteDevices(ctx context.Context, user, last string, devices []string) error {
	doomed := make(map[string]bool, len(devices))
	for _, d := range devices {
		doomed[d] = true
	}
	err := s.eachDevice(ctx, user, func(device string, _ deviceRow) error {
		if device == last || !doomed[device] {
			return nil
		}
		return s.DeleteDevice(ctx, user, device)
	})
	if err != nil || !doomed[last] {
		return err
	}
	return s.DeleteDevice(ctx, user, last)
}

// LogoutOthers deletes all devices of a user but one, which may be none.
func (s *Service) LogoutOthers(ctx context.Context, user, but string) error {
	return s.eachDevice(ctx, user, func(device string, _ deviceRow) error {
		if device == but {
			return nil
		}
		return s.DeleteDevice(ctx, user, device)
	})
}

// Logout ends a session and deletes its device.
func (s *Service) Logout(ctx context.Context, c Session) error {
	err := s.transact(ctx,
		store.Delete(store.Users, deviceKey(c.UserID, c.DeviceID)).If(store.Equal("se", c.name)),
		store.Delete(store.Tokens, sessionKey(c.name)))
	if store.Failed(err) == nil {
		return err
	}
	// The device has another session by now, or none: this one is over.
	return nil
}

// LogoutAll ends all sessions of a user and deletes the devices. The session
// that asks for it goes last: if it dies on the way, it can ask again.
func (s *Service) LogoutAll(ctx context.Context, c Session) error {
	if err := s.LogoutOthers(ctx, c.UserID, c.DeviceID); err != nil {
		return err
	}
	return s.DeleteDevice(ctx, c.UserID, c.DeviceID)
}
