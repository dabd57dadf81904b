package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/virga-im/virga/events/receipt"
	"github.com/virga-im/virga/events/roomversion"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/home"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/rooms/roomstest"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/timeline/trie"
	"github.com/virga-im/virga/shared/userlog"
	"github.com/virga-im/virga/shared/wake"
	"github.com/virga-im/virga/tests/rehearsal/services"
)

// An act is what no script can do, and some statement of a role is for: it leaves
// what a writer leaves that dies, or loses changes, or comes with a token that was
// never used.
type act struct {
	name     string
	context  map[string]string // of the stack
	expected []string          // what its functions may log
	do       func(*testing.T, *Stack)
}

var rare = []act{
	{name: "tokens that are new", do: newTokens},
	{name: "a creation that was abandoned", do: abandonedCreation},
	{name: "a deactivation that was interrupted", do: interruptedDeactivation},
	{name: "chunks that nobody needs", do: neglectedChunks},
	{name: "somebody who cannot decide", context: map[string]string{"presence": "on"}, do: undecided},
	{name: "forks", do: func(t *testing.T, s *Stack) { fork(t, s, s.Services.Root()) }},
	{name: "forks that no change tells of", do: func(t *testing.T, s *Stack) { fork(t, s, s.Services.Unseen()) }},
	{name: "messages that no change tells of", do: lostChanges},
	{name: "somebody who waits", do: waits},
	{name: "a room that is pulled", do: pulledRoom},
	{name: "a stack that goes", do: goingStack},
	{name: "changes that always fail", do: failingChanges, expected: []string{"put aside", "Rate exceeded"}},
}

// play does the act on a stack of its own.
func (a act) play(t *testing.T) {
	context := map[string]string{"registration": "open", "rateLimits": "off", "presence": "off"}
	maps.Copy(context, a.context)
	s := Deploy(t, Options{Context: context, Expected: a.expected})
	a.do(t, s)
	uses.finish(t, s)
}

// person is somebody with an account at the stack.
type person struct {
	s     *Stack
	name  string
	token string
}

type answer struct {
	Token string `json:"access_token"`
	Room  string `json:"room_id"`
	Event string `json:"event_id"`
	Next  string `json:"next_batch"`
}

// do sends a request, and fails the test unless it is answered with the status.
func (p *person) do(t *testing.T, status int, method, path, body string) (a answer) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, p.s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Fatalf("%s %s: %s %s", method, path, resp.Status, text)
	}
	if status == http.StatusOK && json.Unmarshal(text, &a) != nil {
		t.Fatalf("%s %s: %s", method, path, text)
	}
	return a
}

func register(t *testing.T, s *Stack, name string) *person {
	t.Helper()
	p := &person{s: s, name: name}
	p.token = p.do(t, 200, "POST", "/_matrix/client/v3/register", `{"username":"`+name+`","password":"a password","auth":{"type":"m.login.dummy"}}`).Token
	return p
}

// again logs in again, for a token that was never used.
func (p *person) again(t *testing.T) *person {
	t.Helper()
	anybody := &person{s: p.s, name: p.name}
	anybody.token = anybody.do(t, 200, "POST", "/_matrix/client/v3/login", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"`+p.name+`"},"password":"a password"}`).Token
	return anybody
}

// talk lets alice say something to bob, who wants to be pushed.
func talk(t *testing.T, s *Stack) (alice, bob *person, room, event string) {
	t.Helper()
	alice, bob = register(t, s, "alice"), register(t, s, "bob")
	bob.do(t, 200, "GET", "/_matrix/client/v3/sync", "")
	bob.do(t, 200, "POST", "/_matrix/client/v3/pushers/set", `{"kind":"http","app_id":"a","pushkey":"k","app_display_name":"A","device_display_name":"D","lang":"en","data":{"url":"https://127.0.0.1:9/_matrix/push/v1/notify"}}`)
	room = alice.do(t, 200, "POST", "/_matrix/client/v3/createRoom", `{"preset":"public_chat"}`).Room
	bob.do(t, 200, "POST", "/_matrix/client/v3/join/"+url.PathEscape(room), "{}")
	event = alice.do(t, 200, "PUT", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/send/m.room.message/1", `{"msgtype":"m.text","body":"hello"}`).Event
	return alice, bob, room, event
}

// newTokens asks for what else is only asked for with a token that was used.
func newTokens(t *testing.T, s *Stack) {
	alice, bob, room, event := talk(t, s)
	in := "/_matrix/client/v3/rooms/" + url.PathEscape(room)
	for _, r := range []struct {
		status             int
		method, path, body string
	}{
		{200, "GET", in + "/initialSync", ""},
		{200, "POST", in + "/report/" + url.PathEscape(event), `{"reason":"x"}`},
		{200, "POST", in + "/report", `{"reason":"x"}`},
		{200, "GET", in + "/aliases", ""},
		{200, "GET", "/_matrix/client/v3/notifications", ""},
		{200, "POST", "/_matrix/client/v3/publicRooms", "{}"},
		{200, "PUT", "/_matrix/client/v3/directory/room/" + url.PathEscape("#a:"+ServerName), `{"room_id":"` + room + `"}`},
		{403, "PUT", "/_matrix/client/v1/admin/lock/" + url.PathEscape("@bob:"+ServerName), `{"locked":true}`},
		{403, "GET", "/_synapse/admin/v1/reports", ""},
	} {
		alice.again(t).do(t, r.status, r.method, r.path, r.body)
	}
	nobody := &person{s: s}
	nobody.do(t, 400, "GET", "/_synapse/admin/v1/register", "")
	nobody.do(t, 200, "GET", "/_matrix/client/v1/register/m.login.registration_token/validity?token=x", "")
	bob.do(t, 200, "GET", "/_matrix/client/v3/sync", "")
}

// shift is a clock that goes wrong by so much.
type shift time.Duration

func (d shift) Now() time.Time                         { return time.Now().UTC().Add(time.Duration(d)) }
func (d shift) After(t time.Duration) <-chan time.Time { return time.After(t) }

// options reach the stack with these credentials, of the tests.
func (s *Stack) options(c services.Credentials) aws.Options {
	cfg := sdk.Config{
		Region: s.Template.Pseudo["AWS::Region"], BaseEndpoint: &s.Services.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
	}
	return aws.Options{Stack: s.Template.Stack, Queues: map[string]string{"work": s.Services.Queues.URL(s.Template.Stack + "_work")},
		Config: func() (sdk.Config, error) { return cfg, nil }}
}

// server is a homeserver of the test itself, on the tables of the stack.
func server(t *testing.T, s *Stack, c services.Credentials, now clock.Clock) *home.Server {
	t.Helper()
	cfg, err := config.Load(config.Input{Args: []string{"-server-name", ServerName}})
	if err != nil {
		t.Fatal(err)
	}
	at := s.options(c)
	srv, err := home.New(home.Options{Config: cfg, DB: aws.NewDB(at), Queues: aws.NewSender(at), Wake: aws.HoldInLambda(now), Clock: now})
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// everything may touch everything, for what the test itself does.
func everything(t *testing.T) context.Context {
	uses := grant.SendTo("work")
	for _, table := range store.Tables {
		uses = append(uses, grant.Of(grant.ReadTable(table.Name), grant.WriteTable(table.Name))...)
	}
	return grant.With(t.Context(), "the test", uses, nil)
}

func fire(t *testing.T, s *Stack, function string) {
	t.Helper()
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Fire(t.Context(), function); err != nil {
		t.Error(err)
	}
}

// abandonedCreation leaves what a creation of a room leaves that dies after its
// first transaction.
func abandonedCreation(t *testing.T, s *Stack) {
	err := aws.NewDB(s.options(s.Services.Root())).Transact(t.Context(),
		store.Put(store.Server, store.Key{Part: "CREATING", Sort: "!room"}, store.Attrs{"at": int64(1)}),
		store.Put(store.Rooms, timeline.HeadKey("!room"), store.Encode(timeline.Head{Version: 1, Creating: true})),
		store.Put(store.Rooms, timeline.EventKey("!room", userlog.FirstPos), store.Encode(timeline.EventRow{ID: "$event"})),
		store.Put(store.Events, timeline.IndexKey("$event"), store.Attrs{}),
	)
	if err != nil {
		t.Fatal(err)
	}
	fire(t, s, "end_abandoned_creations")
}

func interruptedDeactivation(t *testing.T, s *Stack) {
	alice, _, _, _ := talk(t, s)
	alice.again(t) // who has a session that is to end
	past := server(t, s, s.Services.Root(), shift(-time.Hour))
	arm(t, s, 1, "alice", "bob")
	if _, err := past.Accounts.Deactivate(everything(t), "@alice:"+ServerName, true); err != nil {
		t.Fatal(err)
	}
	fire(t, s, "finish_deactivations")
}

// neglectedChunks leaves what a writer leaves that dies before it changes the
// state, in a room that is due to be swept.
func neglectedChunks(t *testing.T, s *Stack) {
	_, _, room, _ := talk(t, s)
	at := s.options(s.Services.Root())
	if _, err := aws.NewDB(at).Write(t.Context(), store.Put(store.Rooms, timeline.ChunkKey(room, trie.Hash{}), store.Attrs{"b": []byte("x"), "born": int64(1)})); err != nil {
		t.Fatal(err)
	}
	cfg, _ := at.Config()
	client, table := dynamodb.NewFromConfig(cfg), aws.TableName(at.Stack, store.Server)
	all, err := client.Scan(t.Context(), &dynamodb.ScanInput{TableName: &table})
	if err != nil {
		t.Fatal(err)
	}
	aged := 0
	for _, it := range all.Items {
		if sort, ok := it[store.SortAttr].(*types.AttributeValueMemberS); !ok || sort.Value != room || it["at"] == nil {
			continue
		}
		aged++
		it["at"] = &types.AttributeValueMemberN{Value: fmt.Sprint(time.Now().Add(-30 * 24 * time.Hour).UnixMilli())}
		if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: it}); err != nil {
			t.Fatal(err)
		}
	}
	if aged == 0 {
		t.Fatal("the room is in no index")
	}
	fire(t, s, "sweep_chunks")
}

// undecided changes a status until telling it is put off, while bob waits for it.
func undecided(t *testing.T, s *Stack) {
	alice, bob, _, _ := talk(t, s)
	bob.do(t, 200, "GET", "/_matrix/client/v3/sync", "")
	status := "/_matrix/client/v3/presence/" + url.PathEscape("@alice:"+ServerName) + "/status"
	for n, path := range []string{"/_matrix/client/v3/initialSync", "/_matrix/client/v3/sync"} {
		alice.do(t, 200, "PUT", status, `{"presence":"offline"}`)
		arm(t, s, n, "bob")
		alice.do(t, 200, "GET", path, "")
	}
	arm(t, s, 2, "bob")
	for i := range 30 {
		alice.do(t, 200, "PUT", status, fmt.Sprintf(`{"presence":"online","status_msg":"%d"}`, i))
	}
	arm(t, s, 3, "bob")
}

// lostChanges lets alice talk to bob, and nobody hear of it but the sweep.
func lostChanges(t *testing.T, s *Stack) {
	_, _, room, _ := talk(t, s)
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	db := aws.NewDB(s.options(s.Services.Unseen()))
	if _, err := db.Write(t.Context(), store.Delete(store.Server, timeline.FanKey(room))); err != nil {
		t.Fatal(err)
	}
	fire(t, s, "sweep_fan_out")
}

// fork makes a room in which other servers have left more forks than an event can
// follow. If nobody tells, the sweep finds it.
func fork(t *testing.T, s *Stack, c services.Credentials) {
	srv := server(t, s, c, clock.System{})
	ctx := everything(t)
	if err := srv.Keys.Import(ctx, roomstest.KeyLine(ServerName)); err != nil {
		t.Fatal(err)
	}
	h := roomstest.New(t, roomversion.Default, 1, "one", ServerName)
	last := h.Order[len(h.Order)-1]
	for i := range 12 {
		h.Add([]string{last}, roomstest.Event{Sender: "@a:one", Type: "m.room.message", Content: map[string]any{"body": fmt.Sprint(i)}})
	}
	for i, eventID := range h.Order {
		in := rooms.Incoming{Received: h.Nodes[eventID].Received}
		var v receipt.Verdict
		var err error
		if i == 0 {
			v, err = srv.Rooms.Begin(ctx, h.Room, nil, in)
		} else {
			v, err = srv.Rooms.Receive(ctx, h.Room, in)
		}
		if err != nil || v.Outcome != receipt.Accepted {
			t.Fatalf("%s: %v, %v", eventID, v, err)
		}
	}
	fire(t, s, "sweep_fan_out")
}

// arm lets people wait from now on, by connections that were never used, whose
// queues are long there. It returns that of the last one.
func arm(t *testing.T, s *Stack, n int, people ...string) (connection string) {
	t.Helper()
	at := s.options(s.Services.Root())
	at.Waits = s.Services.Queues.URL(s.Template.Stack + "_wait_")
	db, log := aws.NewDB(at), slog.New(slog.DiscardHandler)
	for _, who := range people {
		connection = fmt.Sprintf("%sconnection%d", who, n)
		for _, now := range []clock.Clock{shift(-10 * time.Second), clock.System{}} {
			w := wake.Wait{Connection: connection, Keys: []string{userlog.WakeKey("@" + who + ":" + ServerName)}, Until: now.Now().Add(28 * time.Second)}
			if _, err := aws.HoldInQueue(at, db, now, log).Arm(everything(t), w); err != nil {
				t.Fatal(err)
			}
		}
	}
	return connection
}

// waits lets bob and alice wait at queues, each time anew, for what wakes them: a
// request by each role that may, and the workers.
func waits(t *testing.T, s *Stack) {
	alice, bob, room, event := talk(t, s)
	n := 0
	again := func() (connection string) {
		n++
		return arm(t, s, n, "alice", "bob")
	}
	in := "/_matrix/client/v3/rooms/" + url.PathEscape(room)
	for _, r := range []struct{ method, path, body string }{
		{"POST", "/_matrix/client/v3/createRoom", "{}"},
		{"PUT", in + "/send/m.room.message/2", `{"msgtype":"m.text","body":"hello @bob:` + ServerName + `"}`},
		{"PUT", "/_matrix/client/v3/profile/" + url.PathEscape("@alice:"+ServerName) + "/displayname", `{"displayname":"Alice"}`},
		{"PUT", "/_matrix/client/v3/user/" + url.PathEscape("@alice:"+ServerName) + "/account_data/m.a", `{"a":1}`},
		{"PUT", in + "/typing/" + url.PathEscape("@alice:"+ServerName), `{"typing":true,"timeout":30000}`},
		{"POST", in + "/receipt/m.read/" + url.PathEscape(event), "{}"},
		{"GET", "/_matrix/client/v3/initialSync", ""},
	} {
		again()
		alice.again(t).do(t, 200, r.method, r.path, r.body)
	}
	// The gateway receives what has woken bob.
	connection := again()
	alice.do(t, 200, "PUT", in+"/send/m.room.message/3", `{"msgtype":"m.text","body":"hello"}`)
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(s.URL + "/hold/sync/ticket/" + connection + "/a")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect || resp.Header.Get("Location") != "done" {
		t.Errorf("the gateway answers %s, %q", resp.Status, resp.Header.Get("Location"))
	}
	// Bob's own wait makes its queues, and is held in the function until they are
	// there.
	next := bob.do(t, 200, "GET", "/_matrix/client/v3/sync", "").Next
	done := make(chan struct{})
	go func() {
		defer close(done)
		bob.do(t, 200, "GET", "/_matrix/client/v3/sync?timeout=30000&since="+url.QueryEscape(next), "")
	}()
	for i, answered := 0, false; !answered; i++ {
		select {
		case <-done:
			answered = true
		case <-time.After(200 * time.Millisecond):
			alice.do(t, 200, "PUT", fmt.Sprintf("%s/send/m.room.message/w%d", in, i), `{"msgtype":"m.text","body":"hello"}`)
		}
	}
	// Whom the workers wake by themselves.
	lose := aws.NewDB(s.options(s.Services.Unseen()))
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv := server(t, s, s.Services.Unseen(), clock.System{})
	if _, err := srv.Rooms.Send(everything(t), room, rooms.Draft{
		Sender: "@alice:" + ServerName, Type: "m.room.message", Content: json.RawMessage(`{"msgtype":"m.text","body":"lost"}`),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := lose.Write(t.Context(), store.Delete(store.Server, timeline.FanKey(room))); err != nil {
		t.Fatal(err)
	}
	again()
	fire(t, s, "sweep_fan_out")
}

// pulledRoom makes the room one whose members look for themselves, and two of them
// look, while other devices of theirs wait.
func pulledRoom(t *testing.T, s *Stack) {
	alice, bob, room, _ := talk(t, s)
	alice.do(t, 200, "GET", "/_matrix/client/v3/sync", "")
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	db := aws.NewDB(s.options(s.Services.Unseen()))
	if _, err := db.Write(t.Context(), store.Delete(store.Server, timeline.FanKey(room))); err != nil {
		t.Fatal(err)
	}
	srv := server(t, s, s.Services.Unseen(), clock.System{})
	srv.Rooms.PullAbove = 1
	if err := srv.Rooms.Dispatch(everything(t), []store.Change{{Table: store.Rooms, Key: timeline.HeadKey(room)}}); err != nil {
		t.Fatal(err)
	}
	next := bob.do(t, 200, "GET", "/_matrix/client/v3/sync", "").Next
	for _, p := range []*person{alice, bob} {
		p.do(t, 200, "PUT", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/send/m.room.message/3", `{"msgtype":"m.text","body":"hello"}`)
	}
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	arm(t, s, 1, "alice", "bob")
	bob.do(t, 200, "GET", "/_matrix/client/v3/sync?since="+url.QueryEscape(next), "")
	alice.do(t, 200, "GET", "/_matrix/client/v3/initialSync", "")
}

// goingStack deletes what CloudFormation cannot: objects, and queues where somebody
// waits.
func goingStack(t *testing.T, s *Stack) {
	at := s.options(s.Services.Root())
	bucket := s.Template.IDs("AWS::S3::Bucket")[0]
	at.Bucket = s.Template.Physical(bucket)
	if err := aws.NewBlobs(at).Put(t.Context(), "local/a", "image/png", strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	wait := s.Template.Stack + "_wait_"
	if _, err := s.Services.Queues.Create(wait+"1a", nil); err != nil {
		t.Fatal(err)
	}
	s.Services.SetStatus("DELETE_IN_PROGRESS")
	for _, id := range s.customResources() {
		s.mu.Lock()
		physical := fmt.Sprint(s.custom[id][""])
		s.mu.Unlock()
		if _, err := s.Custom(id, "Delete", physical, nil); err != nil {
			t.Error(err)
		}
	}
	if left := s.Services.Queues.Names(wait); len(left) != 0 {
		t.Errorf("queues are left: %v", left)
	}
	if left, err := aws.NewBlobs(at).List(t.Context(), "", "", 10); err != nil || len(left) != 0 {
		t.Errorf("objects are left: %v, %v", left, err)
	}
}

// failingChanges throttles the worker until its changes are put aside.
func failingChanges(t *testing.T, s *Stack) {
	worker := s.Template.Stack + "_fan_out"
	s.Services.Inject(func(c services.Call) services.Fault { return services.Fault{Throttle: c.Session == worker} })
	defer s.Services.Inject(nil)
	alice := register(t, s, "alice")
	alice.do(t, 200, "POST", "/_matrix/client/v3/createRoom", "{}")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := s.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	got, err := s.Services.Queues.Attributes(s.Template.Stack + "_work_dead")
	if err != nil || got["ApproximateNumberOfMessages"] == "0" {
		t.Error(errors.Join(err, fmt.Errorf("dead letters: %v", got)))
	}
}
