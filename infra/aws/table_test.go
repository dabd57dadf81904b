package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/functions/api"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/route"
	"github.com/virga-im/virga/shared/store"
)

// The full table: as many routes as the whole of Matrix will have one day, as
// declarations that exist in this test alone. It proves today that one stack
// will hold them.

type standInRequest struct {
	Limit int    `query:"limit"`
	Body  string `json:"body" required:"true"`
}

type standInResponse struct {
	EventID string `json:"event_id"`
}

func standIn(context.Context, *home.Self, route.Caller, *standInRequest) (*standInResponse, error) {
	return &standInResponse{}, nil
}

var standInHandler = route.Handle(home.About, standIn)

type standInWait struct{}

func (*standInWait) Waits(route.Caller) ([]string, time.Duration) { return nil, 0 }

func standInLook(context.Context, *home.Self, route.Caller, *standInWait) (*standInResponse, bool, error) {
	return &standInResponse{}, true, nil
}

// willBeUnbounded are operations that are not here yet, and whose answers nothing
// will keep small.
var willBeUnbounded = []string{"federationGetRoomState", "getEventAuth", "sendJoinV2"}

// fullTable builds the table from the operations of the specification.
func fullTable(tb testing.TB) table {
	ops := specOperations(tb)
	var t table
	inSection := map[string]string{}
	unstable := 0
	sets := standInGrants()
	declared := map[string]route.Route{}
	for _, r := range api.Routes() {
		declared[r.Name] = r
	}
	for i, op := range ops {
		r := route.Route{Name: op.name, Pattern: op.method + " " + op.path, Handler: standInHandler, Uses: sets[i%len(sets)]}
		r.Size = route.Size(i % 3)
		r.Unbounded = declared[op.name].Unbounded || slices.Contains(willBeUnbounded, op.name)
		if declared[op.name].Polls() {
			r.Handler = route.Poll(home.About, standInLook)
		}
		if strings.HasPrefix(op.path, "/_matrix/media/v3/") {
			r.Also = route.R0
			r.Also = r.Also.And(strings.Replace(op.path, "/v3/", "/v1/", 1))
		}
		if strings.HasPrefix(op.path, "/_matrix/client/v3/") {
			r.Also = route.R0
			if unstable < 30 && i%4 == 0 {
				unstable++
				r.Also = r.Also.And(fmt.Sprintf("/_matrix/client/unstable/org.matrix.msc%d/%s", 3000+i, strings.TrimPrefix(op.path, "/_matrix/client/v3/")))
			}
		}
		inSection[r.Name] = op.section
		t.routes = append(t.routes, r)
	}
	for i := range 85 {
		section := fmt.Sprintf("things_%d", i%25)
		t.routes = append(t.routes, route.Route{
			Name:    fmt.Sprintf("adminThing%d", i),
			Pattern: fmt.Sprintf("GET /_synapse/admin/v%d/%s/{thingId}/%d", 1+i%2, section, i),
			Handler: standInHandler, Uses: sets[i%5],
		})
	}
	t.section = func(r route.Route) string {
		if s := inSection[r.Name]; s != "" {
			return s
		}
		_, s := apiOf(r)
		return s
	}
	t.workers = standInWorkers()
	return t
}

// standInGrants are more distinct sets than domains should export.
func standInGrants() []grant.Set {
	var sets []grant.Set
	for i, t := range store.Tables {
		next := store.Tables[(i+1)%len(store.Tables)]
		sets = append(sets,
			grant.ReadTable(t.Name),
			grant.Of(grant.ReadTable(t.Name, next.Name), grant.WriteTable(t.Name)),
			grant.Of(grant.ReadTable(t.Name), grant.ReadBlobs("media/"), grant.WriteBlobs("media/"), grant.SendTo("work")),
		)
	}
	var everything []grant.Set
	for _, t := range store.Tables {
		everything = append(everything, grant.ReadTable(t.Name), grant.WriteTable(t.Name))
	}
	everything = append(everything, grant.SendTo("inbound"), grant.SendTo("work"))
	for _, p := range []string{"local/", "remote/", "thumbnails/", "previews/", "incoming/"} {
		everything = append(everything, grant.ReadBlobs(p), grant.WriteBlobs(p))
	}
	return append(sets, grant.Of(everything...))
}

func standInWorkers() []route.Worker {
	uses := grant.Of(grant.ReadTable("rooms"), grant.WriteTable("rooms", "users"), grant.SendTo("work"))
	return []route.Worker{
		{Name: "dispatch_rooms", On: store.Rooms.Changes(), Size: route.Background, Uses: uses},
		{Name: "receive_events", On: queue.Inbound, Size: route.Background, Uses: uses},
		{Name: "do_work", On: queue.Work, Size: route.Background, Uses: uses},
		{Name: "sweep", On: route.Every(5 * time.Minute), Size: route.Background, Uses: uses},
		{Name: "tick", On: route.Every(time.Minute), Size: route.Background},
		{Name: "provider", On: route.Stack, Size: route.Background},
	}
}

type operation struct{ section, method, path, name string }

// specOperations reads the list of the specification's operations.
func specOperations(t testing.TB) []operation {
	t.Helper()
	text, err := os.ReadFile("../../tests/spec/operations.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var ops []operation
	seen := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		col := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || len(col) < 5 {
			continue
		}
		if seen[col[4]] { // the APIs share some names
			col[4] = "federation" + strings.ToUpper(col[4][:1]) + col[4][1:]
		}
		if pattern := col[2] + " " + col[3]; seen[pattern] { // two descriptions of one endpoint
			continue
		}
		seen[col[4]], seen[col[2]+" "+col[3]] = true, true
		section := strings.ToLower(strings.Join(regexp.MustCompile(`\w+`).FindAllString(col[1], -1), "_"))
		ops = append(ops, operation{section: col[0] + "/" + section, method: col[2], path: col[3], name: col[4]})
	}
	return ops
}
