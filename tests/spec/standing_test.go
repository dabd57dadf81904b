package spec

import (
	"net/http"
	"slices"
	"testing"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/route"
)

// What the specification says of accounts that an administrator suspended or
// locked, by operationId. Operations that are in neither list are the server's to
// decide, and closed unless they read.
//
// https://spec.matrix.org/v1.19/client-server-api/#account-moderation
var (
	suspendedMay = []string{
		// See and receive messages.
		"sync", "getRoomEvents", "defineFilter", "getEvents", "search", "queryPublicRooms",
		// Verify other devices and write cross-signing data.
		"uploadKeys", "queryKeys", "claimKeys", "sendToDevice", "uploadCrossSigningKeys", "uploadCrossSigningSignatures",
		"setAccountData", // secrets are kept there
		// Populate the key backup.
		"postRoomKeysVersion", "putRoomKeysVersion", "putRoomKeys", "putRoomKeysByRoomId", "putRoomKeyBySessionId",
		// Leave rooms, redact the own events, log out, delete devices, deactivate.
		"leaveRoom", "redactEvent", "logout", "logout_all", "deleteDevice", "deleteDevices", "deactivateAccount",
		// Add administrative contacts.
		"add3PID",
		// What this server adds, since to see and receive messages needs it: counts and
		// notifications, and whatever nobody else sees. Presence comes with no message.
		"postReceipt", "setReadMarker", "postPusher", "setPushRule", "deletePushRule", "setPushRuleEnabled", "setPushRuleActions",
		"setRoomTag", "deleteRoomTag", "setAccountDataPerRoom", "searchUserDirectory", "setPresence",
	}
	suspendedMayNot = []string{
		"joinRoom", "joinRoomById", "knockRoom", "inviteUser", "sendMessage", "setRoomStateWithKey", "createRoom", "upgradeRoom",
		"setProfileField", "deleteProfileField",
		// What others see, and nobody needs to read.
		"setTyping",
	}
	lockedMay = []string{"logout", "logout_all"}
)

func TestSuspendedAndLockedUsersMayDoWhatTheSpecificationSays(t *testing.T) {
	routes := map[string]route.Route{}
	for _, r := range api.Routes() {
		routes[r.Name] = r
		locked := r.Standing == route.LockedToo
		if (r.Auth == route.AccessToken || r.Auth == route.Optional) && locked != slices.Contains(lockedMay, r.Name) {
			t.Errorf("%s serves locked users: %v", r.Name, locked)
		}
	}
	for _, names := range []struct {
		list []string
		may  bool
	}{{suspendedMay, true}, {suspendedMayNot, false}} {
		for _, name := range names.list {
			r, there := routes[name]
			if may := r.Standing != route.GoodStanding || r.Method() == http.MethodGet; there && may != names.may {
				t.Errorf("%s serves suspended users: %v; set its Standing", name, may)
			}
		}
	}
}
