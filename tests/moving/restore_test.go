package moving

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/archive"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/tests/lambda"
)

// onAWS is a server on DynamoDB that is put back to earlier times.
type onAWS struct {
	*lambda.OnDynamoDB
	t      testing.TB
	at     aws.Options
	tables string
	copies int
}

func startOnAWS(t testing.TB) *onAWS {
	t.Helper()
	tables := awstest.DynamoDB(t)
	at := awstest.Options(tables)
	return &onAWS{OnDynamoDB: lambda.StartOnDynamoDB(t, at), t: t, at: at, tables: tables}
}

func (o *onAWS) tb() testing.TB { return o.t }

// settled lets the workers do what is left: they run at the end of each request.
func (o *onAWS) settled() {
	o.t.Helper()
	for range 3 {
		resp, err := http.Get(o.Base() + "/_matrix/client/versions")
		if err != nil {
			o.t.Fatal(err)
		}
		resp.Body.Close()
	}
}

// copy restores copies of the tables to this moment.
func (o *onAWS) copy() aws.Options {
	o.t.Helper()
	o.copies++
	at := o.at
	at.Stack = fmt.Sprintf("copy%d", o.copies)
	awstest.CopyTables(o.t, o.tables, o.at.Stack, at.Stack)
	return at
}

func (o *onAWS) back(copy aws.Options) archive.Back {
	return archive.Back{
		ServerName: "localhost", Copies: aws.NewDB(copy), Then: aws.NewScan(copy), DB: o.DB, Source: aws.NewScan(o.at),
		Queues: new(sent), ID: copy.Stack, Now: time.Now(),
	}
}

// restore puts the server back, and starts its processes anew.
func (o *onAWS) restore(b archive.Back) archive.Done {
	o.t.Helper()
	done, err := archive.Restore(o.t.Context(), b)
	if err != nil {
		o.t.Fatal(err)
	}
	o.Restart(false)
	o.settled()
	return done
}

func (o *onAWS) head(room string) *timeline.Head {
	o.t.Helper()
	it, err := o.DB.Get(o.t.Context(), store.Ref{Table: store.Rooms, Key: timeline.HeadKey(room)}, store.Consistent)
	if err != nil {
		o.t.Fatal(err)
	}
	h, err := timeline.HeadOf(it)
	if err != nil {
		o.t.Fatal(err)
	}
	return h
}

// login logs another device of a client's user in.
func (c *client) login(password string, want int) *client {
	c.m.tb().Helper()
	d := &client{m: c.m, user: c.user, rooms: map[string][]string{}}
	o := d.call("POST", "/login", object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": c.user}, "password": password}, want)
	d.token, _ = o["access_token"].(string)
	d.id, _ = o["device_id"].(string)
	return d
}

func (c *client) is(want int) {
	c.m.tb().Helper()
	c.call("GET", "/account/whoami", nil, want)
}

// A server that is put back says what it said then. Nobody notices but by what is
// gone: who was logged in goes on, and who was logged out since stays so.
func TestAServerIsPutBackToAnEarlierTime(t *testing.T) {
	o := startOnAWS(t)
	alice, bob, carol, gone := registered(o, "alice"), registered(o, "bob"), registered(o, "carol"), registered(o, "gone")
	tea, quiet := alice.create(), alice.create()
	for _, c := range []*client{bob, carol, gone} {
		c.join(tea)
	}
	bob.join(quiet)
	phone := bob.login("of bob", 200)
	laptop := bob.login("of bob", 200)
	alice.send(tea, "before")
	alice.call("PUT", "/user/"+alice.user+"/account_data/org.example", object{"is": "then"}, 200)
	alice.call("PUT", "/rooms/"+url.PathEscape(tea)+"/state/m.room.topic", object{"topic": "then"}, 200)
	all := []*client{alice, bob, carol, phone}
	for _, c := range all {
		c.settle()
	}
	was := alice.history(tea)
	quietly := o.head(quiet).Version
	prev := o.head(tea).Pos

	copies := o.copy()

	// What is undone.
	ids := map[string]bool{}
	for i := range 20 {
		ids[alice.send(tea, fmt.Sprint("lost", i))] = true
	}
	alice.call("PUT", "/user/"+alice.user+"/account_data/org.example", object{"is": "since"}, 200)
	alice.call("PUT", "/rooms/"+url.PathEscape(tea)+"/state/m.room.topic", object{"topic": "since"}, 200)
	carol.call("POST", "/rooms/"+url.PathEscape(tea)+"/leave", object{}, 200)
	cake := bob.create()
	bob.call("PUT", "/directory/room/"+url.PathEscape("#cake:localhost"), object{"room_id": cake}, 200)
	for _, c := range all {
		c.settle()
	}
	lostTokens := map[*client]string{}
	for _, c := range all {
		lostTokens[c] = c.since
	}
	messages := alice.call("GET", "/rooms/"+url.PathEscape(tea)+"/messages?dir=b&limit=3", nil, 200)
	// What is not.
	phone.call("POST", "/logout", object{}, 200)
	carol.call("POST", "/account/password", object{"new_password": "changed", "logout_devices": false, "auth": object{
		"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": "carol"}, "password": "of carol",
	}}, 200)
	tablet := alice.login("of alice", 200)
	bob.call("POST", "/delete_devices", object{"devices": []string{laptop.id}, "auth": object{
		"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": "bob"}, "password": "of bob",
	}}, 200)
	late := registered(o, "late")
	late.join(tea)
	gone.call("POST", "/account/deactivate", object{"auth": object{
		"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": "gone"}, "password": "of gone",
	}}, 200)
	filter := tablet.call("POST", "/user/"+alice.user+"/filter", object{"room": object{"timeline": object{"limit": 3}}}, 200)["filter_id"].(string)
	o.settled()
	highest := o.head(tea).Pos

	plan := o.back(copies)
	plan.Dry = true
	foreseen, err := archive.Restore(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	if got := alice.history(tea); len(got) < len(was)+20 {
		t.Errorf("a dry run has changed something: %d events", len(got))
	}
	done := o.restore(o.back(copies))
	if done.Rooms != 2 || done.Moved != 1 || done.Lost != 1 || foreseen.Lost != 1 || foreseen.Moved != 1 ||
		!slices.Equal(done.Kept, []string{"@late:localhost"}) || !slices.Equal(done.Again, []string{"@gone:localhost"}) {
		t.Errorf("%+v\nand before: %+v", done, foreseen)
	}

	if got := alice.history(tea); !slices.Equal(got, was) {
		t.Errorf("the room has %d events, and had %d", len(got), len(was))
	}
	if h := o.head(quiet); h.Version != quietly {
		t.Errorf("a room where nothing happened is of the version %d, and was of %d", h.Version, quietly)
	}
	if h := o.head(tea); h.Pos <= highest || h.Pos <= prev {
		t.Errorf("the room is at %s, and was at %s", h.Pos, highest)
	}
	alice.call("GET", "/rooms/"+url.PathEscape(cake)+"/messages?dir=b", nil, 403)
	alice.call("GET", "/directory/room/"+url.PathEscape("#cake:localhost"), nil, 404)
	if d := alice.call("GET", "/user/"+alice.user+"/account_data/org.example", nil, 200); d["is"] != "then" {
		t.Errorf("account data: %v", d)
	}
	if d := carol.call("GET", "/rooms/"+url.PathEscape(tea)+"/state/m.room.topic", nil, 200); d["topic"] != "then" {
		t.Errorf("topic: %v", d)
	}

	// Who was logged in is, and nobody else.
	for c, want := range map[*client]int{alice: 200, bob: 200, carol: 200, tablet: 200, late: 200, phone: 401, laptop: 401, gone: 401} {
		c.is(want)
	}
	carol.login("changed", 200)
	carol.login("of carol", 403)
	gone.login("of gone", 403)
	bob.call("GET", "/devices/"+url.PathEscape(phone.id), nil, 404)
	tablet.call("GET", "/user/"+alice.user+"/filter/"+filter, nil, 200)

	// Clients go on, whatever they were told since.
	for _, c := range []*client{alice, bob, carol} {
		if c.since != lostTokens[c] {
			t.Fatal("a client has asked meanwhile")
		}
		if !c.settle() {
			t.Errorf("%s goes on as if nothing was lost", c.user)
		}
		c.knows(tea)
	}
	for i := range 60 { // past all numbers that were given since
		event := alice.send(tea, fmt.Sprint("lost", i)) // the same transactions as those that are lost
		if ids[event] {
			t.Errorf("the event %s is there again", event)
		}
		for _, c := range []*client{alice, bob, carol} {
			if c.settle() {
				t.Errorf("%s is told anew where the room stands, a second time, with message %d", c.user, i)
			}
			c.knows(tea)
		}
	}
	// A token of a page that was lost leads to what is left before it.
	o2 := alice.call("GET", "/rooms/"+url.PathEscape(tea)+"/messages?dir=b&limit=100&from="+url.QueryEscape(messages["end"].(string)), nil, 200)
	for _, e := range o2["chunk"].([]any) {
		id := e.(object)["event_id"].(string)
		if !slices.Contains(was, id) {
			t.Errorf("before what was lost there is %s, which is of later", id)
		}
	}
	// Whoever came since is nowhere, and can come again.
	late.settle()
	if len(late.rooms[tea]) != 0 {
		t.Error("late is in the room")
	}
	late.join(tea)
	late.settle()
	late.knows(tea)
	// Whoever went since goes again.
	o.RunTimers()
	o.settled()
	members := alice.call("GET", "/rooms/"+url.PathEscape(tea)+"/joined_members", nil, 200)["joined"].(object)
	if _, in := members["@gone:localhost"]; in || len(members) != 4 {
		t.Errorf("members are %v", members)
	}
}

// failing is a store that fails for good at some time.
type failing struct {
	store.DB
	now func() bool
}

func (f failing) Write(ctx context.Context, w store.Write) (store.Item, error) {
	if f.now() {
		return store.Item{}, errors.New("the power is out")
	}
	return f.DB.Write(ctx, w)
}

// Restored again, and again after it was interrupted anywhere, it is the same server.
func TestARestoreCanBeRepeated(t *testing.T) {
	o := startOnAWS(t)
	alice, bob := registered(o, "alice"), registered(o, "bob")
	room := alice.create()
	bob.join(room)
	alice.send(room, "before")
	bob.settle()
	was := alice.history(room)
	copies := o.copy()
	for round := range 3 {
		for i := range 5 {
			alice.send(room, fmt.Sprint(round, "-", i))
		}
		bob.settle()
		stop := o.back(copies)
		var writes atomic.Int64
		stop.DB = failing{o.DB, func() bool { return writes.Add(1) > int64(3+4*round) }}
		if _, err := archive.Restore(t.Context(), stop); err == nil {
			t.Fatal("it was not interrupted")
		}
		other := o.back(copies)
		other.ID = "another"
		if _, err := archive.Restore(t.Context(), other); err == nil || !strings.Contains(err.Error(), "did not end") {
			t.Errorf("another one began meanwhile: %v", err)
		}
		if id, err := archive.Begun(t.Context(), o.DB); err != nil || id != copies.Stack {
			t.Errorf("%q is what was begun, %v", id, err)
		}
		before := o.head(room).Pos
		o.restore(o.back(copies))
		if id, err := archive.Begun(t.Context(), o.DB); err != nil || id != "" {
			t.Errorf("%q has not ended, %v", id, err)
		}
		if after := o.head(room).Pos; after < before {
			t.Errorf("the room is at %s, and was at %s", after, before)
		}
		if got := alice.history(room); !slices.Equal(got, was) {
			t.Errorf("the room has %d events, and had %d", len(got), len(was))
		}
		bob.settle()
		bob.knows(room)
		alice.send(room, fmt.Sprint("again", round))
		bob.settle()
		bob.knows(room)
	}
}

// With LogOut, everybody logs in anew.
func TestARestoreCanLogEverybodyOut(t *testing.T) {
	o := startOnAWS(t)
	alice := registered(o, "alice")
	room := alice.create()
	alice.send(room, "before")
	b := o.back(o.copy())
	b.LogOut = true
	o.restore(b)
	alice.is(401)
	again := alice.login("of alice", 200)
	again.settle()
	again.knows(room)
}

// An old file can be imported without the sessions that were good then.
func TestAnImportCanLeaveSessionsBehind(t *testing.T) {
	m := start(t, false)
	alice := m.register("alice")
	room := alice.create()
	var file bytes.Buffer
	if _, err := m.p.Export(t.Context(), &file, ""); err != nil {
		t.Fatal(err)
	}
	o := startOnAWS(t)
	_, err := archive.Import(t.Context(), &file, archive.Into{
		ServerName: "localhost", DB: o.DB, Source: aws.NewScan(o.at), Queues: new(sent), Blobs: aws.NewBlobs(o.at), Now: time.Now(), LogOut: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	was := &client{m: o, user: alice.user, token: alice.token}
	was.is(401)
	now := was.login("of alice", 200)
	if len(now.history(room)) == 0 {
		t.Error("the room is empty")
	}
	if list := now.call("GET", "/devices", nil, 200)["devices"].([]any); len(list) != 1 {
		t.Errorf("alice has %d devices", len(list))
	}
}

// What is lost of accounts comes back, and so do the rooms, but no session.
func TestARestoreBringsBackWhatIsLost(t *testing.T) {
	o := startOnAWS(t)
	alice, bob := registered(o, "alice"), registered(o, "bob")
	room := alice.create()
	bob.join(room)
	alice.send(room, "before")
	bob.settle()
	was := alice.history(room)
	copies := o.copy()
	for _, table := range store.Tables {
		for it, err := range aws.NewScan(o.at).Items(t.Context(), table) {
			if err == nil {
				_, err = o.DB.Write(t.Context(), store.Delete(table, it.Key))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	o.restore(o.back(copies))
	alice.is(401)
	again := alice.login("of alice", 200)
	if got := again.history(room); !slices.Equal(got, was) {
		t.Errorf("the room has %d events, and had %d", len(got), len(was))
	}
	found := again.call("POST", "/user_directory/search", object{"search_term": "bob"}, 200)["results"].([]any)
	if len(found) != 1 {
		t.Errorf("bob is found %d times", len(found))
	}
	again.send(room, "after")
	again.settle()
	again.knows(room)
}

// mixed reads one table elsewhere.
type mixed struct {
	table *store.Table
	one   archive.Source
	archive.Source
}

func (m mixed) Items(ctx context.Context, t *store.Table) iter.Seq2[store.Item, error] {
	if t == m.table {
		return m.one.Items(ctx, t)
	}
	return m.Source.Items(ctx, t)
}

// Copies that are of no one moment, or of another server, or of nobody, are refused
// before anything is changed.
func TestCopiesThatCannotBePutBackAreRefused(t *testing.T) {
	o := startOnAWS(t)
	empty := o.copy()
	alice := registered(o, "alice")
	room := alice.create()
	last := alice.send(room, "last")
	torn := o.copy()
	if _, err := aws.NewDB(torn).Write(t.Context(), store.Delete(store.Events, timeline.IndexKey(last))); err != nil {
		t.Fatal(err)
	}
	foreign := o.back(o.copy())
	foreign.ServerName = "example.org"
	alice.settle()
	// Copies of which one table is of another second than the others.
	lags := o.copy()
	alice.send(room, "later")
	alice.settle()
	hurries := o.copy()
	of := func(t *store.Table, one, others aws.Options) archive.Back {
		b := o.back(others)
		b.Then = mixed{t, aws.NewScan(one), b.Then}
		return b
	}
	emptied := of(store.Rooms, empty, lags)
	early := of(store.Users, hurries, lags)
	missing := o.back(lags)
	missing.Then = mixed{store.Media, aws.NewScan(aws.Options{Stack: "nosuch", Config: o.at.Config}), missing.Then}
	for want, b := range map[string]archive.Back{
		"some are not": emptied, "was told more": early, "copy of the table media": missing,
		"no accounts": o.back(empty), "second before or after": o.back(torn), "of this server": foreign,
	} {
		if _, err := archive.Restore(t.Context(), b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if got := alice.history(room); !slices.Contains(got, last) {
		t.Error("something was changed")
	}
	if id, err := archive.Begun(t.Context(), o.DB); err != nil || id != "" {
		t.Errorf("%q was begun, %v", id, err)
	}
}
