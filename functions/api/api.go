// Package api is the list of everything that a homeserver answers and does. The
// local process, the Lambda program, the CDK app and the tests read it; there is
// no other list.
package api

import (
	"slices"

	adminregistration "github.com/virga-im/virga/functions/admin/registration"
	"github.com/virga-im/virga/functions/admin/reports"
	"github.com/virga-im/virga/functions/client/account"
	"github.com/virga-im/virga/functions/client/backup"
	"github.com/virga-im/virga/functions/client/creation"
	"github.com/virga-im/virga/functions/client/devices"
	"github.com/virga-im/virga/functions/client/directory"
	"github.com/virga-im/virga/functions/client/discovery"
	"github.com/virga-im/virga/functions/client/interactive"
	"github.com/virga-im/virga/functions/client/markers"
	"github.com/virga-im/virga/functions/client/membership"
	"github.com/virga-im/virga/functions/client/mutualrooms"
	"github.com/virga-im/virga/functions/client/openid"
	"github.com/virga-im/virga/functions/client/participation"
	"github.com/virga-im/virga/functions/client/presence"
	"github.com/virga-im/virga/functions/client/profile"
	"github.com/virga-im/virga/functions/client/push"
	"github.com/virga-im/virga/functions/client/registration"
	"github.com/virga-im/virga/functions/client/relationships"
	"github.com/virga-im/virga/functions/client/reporting"
	"github.com/virga-im/virga/functions/client/search"
	"github.com/virga-im/virga/functions/client/server"
	"github.com/virga-im/virga/functions/client/session"
	"github.com/virga-im/virga/functions/client/spaces"
	"github.com/virga-im/virga/functions/client/summary"
	"github.com/virga-im/virga/functions/client/thirdparty"
	"github.com/virga-im/virga/functions/client/threads"
	"github.com/virga-im/virga/functions/client/upgrades"
	"github.com/virga-im/virga/functions/client/userdata"
	"github.com/virga-im/virga/functions/client/userdirectory"
	federationopenid "github.com/virga-im/virga/functions/federation/openid"
	"github.com/virga-im/virga/functions/workers"
	"github.com/virga-im/virga/shared/route"
)

// Routes returns all routes, section by section in the order of the
// specification.
func Routes() []route.Route {
	return slices.Concat(
		server.Routes,
		interactive.Routes,
		registration.Routes,
		session.Routes,
		account.Routes,
		creation.Routes,
		membership.Routes,
		participation.Routes,
		relationships.Routes,
		threads.Routes,
		directory.Routes,
		userdirectory.Routes,
		mutualrooms.Routes,
		upgrades.Routes,
		spaces.Routes,
		summary.Routes,
		discovery.Routes,
		profile.Routes,
		userdata.Routes,
		presence.Routes,
		markers.Routes,
		push.Routes,
		devices.Routes,
		backup.Routes,
		search.Routes,
		reporting.Routes,
		thirdparty.Routes,
		openid.Routes,
		federationopenid.Routes,
		adminregistration.Routes,
		reports.Routes,
	)
}

// Workers returns all workers.
func Workers() []route.Worker {
	return slices.Clone(workers.Workers)
}

// Operations returns the names of the routes, for home.Options.
func Operations(routes []route.Route) []string {
	names := make([]string, len(routes))
	for i, r := range routes {
		names[i] = r.Name
	}
	return names
}
