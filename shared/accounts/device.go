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
	LastSeen    time.Time
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

func (r deviceRow) public(device string) Device {
	return Device{ID: device, DisplayName: r.Name, LastSeen: time.UnixMilli(r.LastSeen).UTC()}
}

// Device returns a device of the user, or M_NOT_FOUND.
func (s *Service) Device(ctx context.Context, user, device string) (Device, error) {
	row, ok, err := s.device(ctx, user, device)
	if err != nil {
		return Device{}, err
	}
	if !ok {
		return Device{}, mxerr.NotFound("You have no device %q.", device)
	}
	return row.public(device), nil
}

// Devices returns all devices of the user.
func (s *Service) Devices(ctx context.Context, user string) ([]Device, error) {
	var all []Device
	err := s.eachDevice(ctx, user, func(device string, row deviceRow) error {
		all = append(all, row.public(device))
		return nil
	})
	return all, err
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
	err := s.write(ctx, store.Update(store.Users, deviceKey(user, device)).Set("n", name).If(store.Exists()))
	if store.Failed(err) != nil {
		return mxerr.NotFound("You have no device %q.", device)
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
	err := s.eachDevice(ctx, c.UserID, func(device string, _ deviceRow) error {
		if device == c.DeviceID {
			return nil
		}
		return s.DeleteDevice(ctx, c.UserID, device)
	})
	if err != nil {
		return err
	}
	return s.DeleteDevice(ctx, c.UserID, c.DeviceID)
}
