package push

import (
	"encoding/json"
	"net/url"
	"unicode/utf8"

	"github.com/virga-im/virga/shared/mxerr"
)

// The bounds of a pusher: those of the specification, and for what it leaves open
// some that fit into a row.
const (
	maxPushKey    = 512 // bytes
	maxAppID      = 64  // characters
	maxPusherText = 1 << 10
	maxPusherData = 8 << 10
)

// gatewayPath is the path of a push gateway.
const gatewayPath = "/_matrix/push/v1/notify"

func checkPushKey(appID, pushKey string) error {
	if pushKey == "" || len(pushKey) > maxPushKey {
		return mxerr.InvalidParam("A pushkey has 1 to %d bytes.", maxPushKey)
	}
	if appID == "" || utf8.RuneCountInString(appID) > maxAppID {
		return mxerr.InvalidParam("An app_id has 1 to %d characters.", maxAppID)
	}
	return nil
}

// check refuses what no notification can be sent to.
func (p *Pusher) check(anyGateway bool) error {
	if err := checkPushKey(p.AppID, p.PushKey); err != nil {
		return err
	}
	for _, text := range []string{p.AppName, p.DeviceName, p.ProfileTag, p.Lang} {
		if len(text) > maxPusherText {
			return mxerr.InvalidParam("The names, the profile tag and the language of a pusher have at most %d bytes each.", maxPusherText)
		}
	}
	if p.Kind != "http" {
		return mxerr.InvalidParam("This server has no pushers of kind %q; it has http.", p.Kind)
	}
	var data struct {
		URL    string  `json:"url"`
		Format *string `json:"format"`
	}
	if len(p.Data) > maxPusherData || json.Unmarshal(p.Data, &data) != nil {
		return mxerr.InvalidParam("The data of a pusher is an object of at most %d bytes, in which url and format are strings.", maxPusherData)
	}
	if data.URL == "" {
		return mxerr.MissingParam("The data of an http pusher needs a url.")
	}
	u, err := url.Parse(data.URL)
	if err != nil || u.Scheme != "https" && !(anyGateway && u.Scheme == "http") || u.Hostname() == "" || u.User != nil || u.Path != gatewayPath {
		return mxerr.InvalidParam("The url of a push gateway is https, without a user, and its path is %s.", gatewayPath)
	}
	return nil
}
