package server

import (
	"context"

	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/route"
)

// getCapabilities tells a user's client what it may do.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities
var getCapabilities = route.Route{
	Name:    "getCapabilities",
	Pattern: "GET /_matrix/client/v3/capabilities",
	Also:    route.R0,
	Limit:   route.LimitRequest,
	Handler: route.Handle(home.About, serveGetCapabilities),
}

type getCapabilitiesResponse struct {
	Capabilities struct {
		RoomVersions struct {
			Default   string            `json:"default"`
			Available map[string]string `json:"available"`
		} `json:"m.room_versions"`
		ChangePassword capability `json:"m.change_password"`
		SetDisplayname capability `json:"m.set_displayname"`
		SetAvatarURL   capability `json:"m.set_avatar_url"`
		ProfileFields  capability `json:"m.profile_fields"`
		// OldProfileFields is the spelling of before Matrix 1.16.
		OldProfileFields capability `json:"uk.tcpip.msc4133.profile_fields"`
		ThreePID         capability `json:"m.3pid_changes"`
		GetLoginToken    capability `json:"m.get_login_token"`
		// ForgetOnLeave says that rooms are forgotten for those who leave them, and
		// OldForgetOnLeave the same before it was part of the specification.
		ForgetOnLeave    *capability `json:"m.forget_forced_upon_leave,omitempty"`
		OldForgetOnLeave *capability `json:"org.matrix.msc4267.forget_forced_upon_leave,omitempty"`
		// AccountModeration is for administrators, and absent for others.
		AccountModeration *moderationCapability `json:"m.account_moderation,omitempty"`
	} `json:"capabilities"`
}

type capability struct {
	Enabled bool `json:"enabled"`
}

type moderationCapability struct {
	Suspend bool `json:"suspend"`
	Lock    bool `json:"lock"`
}

func serveGetCapabilities(_ context.Context, about *home.Self, caller route.Caller, _ *route.Empty) (*getCapabilitiesResponse, error) {
	resp := new(getCapabilitiesResponse)
	c := &resp.Capabilities
	c.RoomVersions.Default = roomversion.Default
	c.RoomVersions.Available = map[string]string{}
	for _, v := range rooms.CreatableVersions() {
		c.RoomVersions.Available[v] = "stable"
	}
	// Absent, most of these would be taken for enabled.
	serves := func(operation string) capability { return capability{about.Serves[operation]} }
	c.ChangePassword = serves("changePassword")
	c.SetDisplayname = serves("setProfileField")
	c.SetAvatarURL = serves("setProfileField")
	c.ProfileFields = serves("setProfileField")
	c.OldProfileFields = c.ProfileFields
	c.ThreePID = serves("add3PID")
	c.GetLoginToken = serves("generateLoginToken")
	if about.Config.ForgetOnLeave {
		c.ForgetOnLeave = &capability{true}
		c.OldForgetOnLeave = c.ForgetOnLeave
	}
	if suspend, lock := about.Serves["setAdminSuspendUser"], about.Serves["setAdminLockUser"]; caller.Admin && (suspend || lock) {
		c.AccountModeration = &moderationCapability{suspend, lock}
	}
	return resp, nil
}
