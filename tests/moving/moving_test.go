package moving

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-im/virga/infra/local/process"
	"github.com/virga-im/virga/shared/archive"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/grant"
)

// Who was logged in stays so, goes on with the old token, and neither misses an event
// nor gets one twice.
func TestEveryClientGoesOn(t *testing.T) {
	for name, onAWS := range map[string]bool{"to a new folder": false, "to DynamoDB and back": true} {
		t.Run(name, func(t *testing.T) {
			m := start(t, onAWS)
			alice, bob, carol, dora := m.register("alice"), m.register("bob"), m.register("carol"), m.register("dora")
			tea, cake := alice.create(), bob.create()
			for _, c := range []*client{bob, carol} {
				c.join(tea)
			}
			alice.join(cake)
			bob.settle()
			carol.settle()
			var sent string
			for i := range 12 {
				sent = alice.send(tea, fmt.Sprint("tea", i))
				bob.send(cake, fmt.Sprint("cake", i))
			}
			bob.settle() // carol has not heard of the messages, and dora of nothing at all
			was, sum := roots(t, m)

			m.Restart(false)

			if now, s := roots(t, m); now != was || s != sum || was != 2 {
				t.Errorf("%d rooms with the state %s have become %d with %s", was, sum, now, s)
			}
			// A repeated request is the same event, and a password the same password.
			if again := alice.send(tea, "tea11"); again != sent {
				t.Errorf("the message was sent again, as %s and not %s", again, sent)
			}
			login := object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": "bob"}, "password": "of bob"}
			(&client{m: m}).call("POST", "/login", login, 200)
			for _, c := range []*client{bob, carol, alice} {
				c.settle()
				c.knows(tea)
			}
			bob.knows(cake)
			for i := range 3 {
				bob.send(tea, fmt.Sprint("later", i))
				for _, c := range []*client{alice, bob, carol} {
					if c.settle() {
						t.Errorf("%s is told anew where the room stands", c.user)
					}
					c.knows(tea)
				}
			}
			dora.join(tea)
			dora.settle()
			dora.knows(tea)
		})
	}
}

// A server that is put back from an old file has forgotten what came after. Tokens of
// the time between are beyond its end; they are not taken for places in what comes
// now.
func TestTokensFromBeyondTheFileAreRebased(t *testing.T) {
	m := start(t, false)
	alice, bob := m.register("alice"), m.register("bob")
	room := alice.create()
	bob.join(room)
	bob.settle()
	alice.settle()
	from := bob.since
	var file bytes.Buffer
	if _, err := m.p.Export(t.Context(), &file, ""); err != nil {
		t.Fatal(err)
	}
	for i := range 30 { // lost by what follows
		alice.send(room, fmt.Sprint("lost", i))
		bob.settle()
	}
	back := func() {
		m.close()
		m.cfg.Data = filepath.Join(t.TempDir(), "data")
		if _, err := process.Import(t.Context(), m.cfg, bytes.NewReader(file.Bytes()), ""); err != nil {
			t.Fatal(err)
		}
		m.open()
	}
	for again := range 2 { // the second time the tokens are of the first
		back()
		alice.send(room, fmt.Sprint("new", again))
		if !bob.settle() {
			t.Error("bob's client goes on as if nothing was lost")
		}
		bob.knows(room)
		for i := range 60 {
			alice.send(room, fmt.Sprint("kept", again, i))
			if bob.settle() {
				t.Error("bob is told anew where the room stands, a second time")
			}
			bob.knows(room)
		}
		alice.settle()
		alice.knows(room)
	}
	// The older way to wait refuses such a token in words, also where its answer is full.
	o := bob.call("GET", "/events?timeout=0&from="+url.QueryEscape(from), nil, 400)
	if o["errcode"] != "M_INVALID_PARAM" {
		t.Errorf("/events says %v", o)
	}
}

// The bytes of media go along, over S3.
func TestMediaGoesOverS3(t *testing.T) {
	ctx := grant.With(t.Context(), "test", grant.Of(grant.ReadBlobs(""), grant.WriteBlobs("")), nil)
	m := start(t, false)
	content := bytes.Repeat([]byte("picture"), 200_000)
	if err := m.p.Store.Blobs().Put(ctx, "media/one", "image/png", bytes.NewReader(content), -1); err != nil {
		t.Fatal(err)
	}
	at := awstest.Options(awstest.DynamoDB(t))
	dir := t.TempDir()
	var there, back bytes.Buffer
	if _, err := m.p.Export(t.Context(), &there, filepath.Join(dir, "there")); err != nil {
		t.Fatal(err)
	}
	objects := awstest.Options(awstest.S3(t))
	if _, err := archive.Import(t.Context(), &there, archive.Into{
		ServerName: "localhost", DB: aws.NewDB(at), Source: aws.NewScan(at), Queues: new(sent), Blobs: aws.NewBlobs(objects), Media: filepath.Join(dir, "there"), Now: time.Now(),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Export(t.Context(), &back, archive.From{
		ServerName: "localhost", Source: aws.NewScan(at), Blobs: aws.NewBlobs(objects), Media: filepath.Join(dir, "back"), Now: time.Now(),
	}); err != nil {
		t.Fatal(err)
	}
	cfg := *m.cfg
	cfg.Data = filepath.Join(dir, "data")
	if _, err := process.Import(t.Context(), &cfg, &back, filepath.Join(dir, "back")); err != nil {
		t.Fatal(err)
	}
	r, meta, err := serve(t, &cfg).p.Store.Blobs().Get(ctx, "media/one")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) || meta.ContentType != "image/png" {
		t.Errorf("%d bytes of %s, %v", len(got), meta.ContentType, err)
	}
}

// What is exported while people write is one moment: all that was acknowledged
// before is there, and what is there is whole.
func TestExportWhileWritersRun(t *testing.T) {
	m := start(t, false)
	const writers, rounds = 4, 5
	var stop atomic.Bool
	var work sync.WaitGroup
	var mu sync.Mutex
	acknowledged := map[string][]string{} // by room
	people := map[string]*client{}
	for i := range writers {
		c := m.register(fmt.Sprint("writer", i))
		room := c.create()
		people[room] = c
		work.Go(func() {
			for n := 0; !stop.Load(); n++ {
				event := c.send(room, fmt.Sprint(n))
				if n%5 == 0 {
					c.call("PUT", "/rooms/"+url.PathEscape(room)+"/state/org.example.n/"+fmt.Sprint(n), object{"n": n}, 200)
				}
				if n%20 == 0 {
					c.create()
				}
				mu.Lock()
				acknowledged[room] = append(acknowledged[room], event)
				mu.Unlock()
			}
		})
	}
	defer work.Wait()
	defer stop.Store(true)
	var rooms int64
	for round := range rounds {
		before := map[string]string{}
		for len(before) < writers {
			mu.Lock()
			for room, events := range acknowledged {
				if len(events) > 10*round {
					before[room] = events[len(events)-1]
				}
			}
			mu.Unlock()
			runtime.Gosched()
		}
		var file bytes.Buffer
		if _, err := m.p.Export(t.Context(), &file, ""); err != nil {
			t.Fatal(err)
		}
		cfg := *m.cfg
		cfg.Data = filepath.Join(t.TempDir(), "data")
		sum, err := process.Import(t.Context(), &cfg, bytes.NewReader(file.Bytes()), "")
		if err != nil {
			t.Fatal(err)
		}
		if sum.Rooms < rooms || sum.Rooms < writers {
			t.Errorf("%d rooms have become %d", rooms, sum.Rooms)
		}
		rooms = sum.Rooms
		as := serve(t, &cfg)
		for room, event := range before {
			c := &client{m: as, token: people[room].token}
			if all := c.history(room); !slices.Contains(all, event) {
				t.Errorf("%s was acknowledged before the export, and is not in it: %q", event, all)
			}
		}
	}
}
