package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"maunium.net/go/mautrix"
)

// belonging is what users do with their accounts and devices.
var belonging = acts{
	"devices": func(ctx context.Context, u *user, _ *args) (any, error) {
		resp, err := u.GetDevicesInfo(ctx)
		if err != nil {
			return nil, err
		}
		return resp.Devices, nil
	},
	"rename": func(ctx context.Context, u *user, a *args) (any, error) {
		return nil, u.SetDeviceInfo(ctx, a.Device, &mautrix.ReqDeviceInfo{DisplayName: a.Name})
	},
	"remove": func(ctx context.Context, u *user, a *args) (any, error) {
		return nil, u.confirm(a.Password, func(auth any) error {
			return u.DeleteDevice(ctx, a.Device, &mautrix.ReqDeleteDevice[any]{Auth: auth})
		})
	},
	"setPassword": func(ctx context.Context, u *user, a *args) (any, error) {
		return nil, u.confirm(a.Password, func(auth any) error {
			req := map[string]any{"new_password": a.Next, "logout_devices": true}
			if auth != nil {
				req["auth"] = auth
			}
			_, err := u.MakeRequest(ctx, http.MethodPost, u.BuildClientURL("v3", "account", "password"), req, nil)
			return err
		})
	},
	"logoutAll": func(ctx context.Context, u *user, _ *args) (any, error) { return u.LogoutAll(ctx) },
	"openID":    func(ctx context.Context, u *user, _ *args) (any, error) { return u.RequestOpenIDToken(ctx) },
	"turn":      func(ctx context.Context, u *user, _ *args) (any, error) { return u.TurnServer(ctx) },
	"push": func(ctx context.Context, u *user, a *args) (any, error) {
		kind := mautrix.PusherKindHTTP
		return nil, u.SetPusher(ctx, &mautrix.Pusher{
			AppDisplayName: "Gutter", AppID: "org.example.gutter", DeviceDisplayName: "phone", Kind: &kind, Language: "en", PushKey: a.Key,
			Data: mautrix.PusherData{"url": "https://push.example.org/_matrix/push/v1/notify", "format": "event_id_only"},
		})
	},
	"pushers": func(ctx context.Context, u *user, _ *args) (any, error) {
		// GetPushers of mautrix-go is a POST, which no server answers.
		var resp mautrix.RespPushers
		if _, err := u.MakeRequest(ctx, http.MethodGet, u.BuildClientURL("v3", "pushers"), nil, &resp); err != nil {
			return nil, err
		}
		keys := []string{}
		for _, p := range resp.Pushers {
			keys = append(keys, p.PushKey)
		}
		return keys, nil
	},
}

// confirm does what takes a password once more. Mautrix-go does not show what the
// server asks for, so its apps know.
func (u *user) confirm(password string, act func(auth any) error) error {
	var herr mautrix.HTTPError
	if err := act(nil); !errors.As(err, &herr) || !herr.IsStatus(http.StatusUnauthorized) {
		return fmt.Errorf("without a password: %w, want 401", err)
	}
	return act(&mautrix.ReqUIAuthLogin{
		BaseAuthData: mautrix.BaseAuthData{Type: mautrix.AuthTypePassword}, User: string(u.UserID), Password: password,
	})
}
