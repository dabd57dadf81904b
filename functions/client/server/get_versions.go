package server

import (
	"context"
	"net/http"

	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/route"
)

// getVersions tells clients which versions of the specification and which
// unstable features they may use.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions
var getVersions = route.Route{
	Name:    "getVersions",
	Pattern: "GET /_matrix/client/versions",
	Auth:    route.Public, // no feature is for some users only
	Handler: route.Handle(home.About, serveGetVersions),
}

type getVersionsResponse struct {
	Versions         []string        `json:"versions"`
	UnstableFeatures map[string]bool `json:"unstable_features"`
}

// Headers lets browsers keep the answer for a minute: it is the same for all.
func (*getVersionsResponse) Headers(h http.Header) { h.Set("Cache-Control", "public, max-age=60") }

// versions are those whose clients find what they need here. Clients compare
// with this list before they use an endpoint; tests/spec/coverage.md says which
// endpoints are still missing.
var versions = []string{
	"r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12",
}

// unstable names the route without which a feature is not there. Features that
// are part of the specification by now are listed for older clients, which ask
// for the feature and not for the version.
var unstable = []struct{ feature, operation string }{
	{"org.matrix.e2e_cross_signing", "uploadCrossSigningKeys"},
	{"org.matrix.label_based_filtering", "getRoomEvents"},
	{"org.matrix.msc2285.stable", "postReceipt"},
	{"org.matrix.msc3440.stable", "getThreadRoots"},
	{"org.matrix.msc3771", "postReceipt"},
	{"org.matrix.msc3773", "sync"},
	{"org.matrix.msc3827.stable", "queryPublicRooms"},
	{"org.matrix.msc3882", "generateLoginToken"},
	{"org.matrix.msc3916.stable", "getContentAuthed"},
	{"org.matrix.msc3981", "getRelatingEvents"},
	{"fi.mau.msc2659.stable", "pingAppservice"},
	{"org.matrix.simplified_msc3575", "slidingSync"},
	{"org.matrix.msc4140", "updateDelayedEvent"},
	{"org.matrix.msc4143", "getRTCTransports"},
	{"uk.tcpip.msc4133", "setProfileField"},
	{"uk.tcpip.msc4133.stable", "setProfileField"},
	{"org.matrix.msc4069", "setProfileField"},
	{"uk.half-shot.msc2666.query_mutual_rooms.stable", "getMutualRooms"},
	{"uk.half-shot.msc2666.query_mutual_rooms", "getMutualRooms"},
	{"org.matrix.msc4155", "inviteUser"},
	{"org.matrix.msc4380", "inviteUser"},
	{"org.matrix.msc4380.stable", "inviteUser"},
}

func serveGetVersions(_ context.Context, about *home.Self, _ route.Caller, _ *route.Empty) (*getVersionsResponse, error) {
	resp := &getVersionsResponse{Versions: versions, UnstableFeatures: map[string]bool{}}
	for _, u := range unstable {
		if about.Serves[u.operation] {
			resp.UnstableFeatures[u.feature] = true
		}
	}
	return resp, nil
}
