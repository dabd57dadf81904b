package push_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/userlog"
)

const alice = "@alice:test"

// open returns the domain on an empty store, and a context that may use it.
func open(t *testing.T) (*push.Service, func(push.Draft) error) {
	t.Helper()
	l, err := local.Open(local.NewMemory().Options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	log := &userlog.Service{DB: l.DB(), Clock: clock.System{}, Waker: l.Wake()}
	s := &push.Service{Accounts: accounts.New(accounts.Options{DB: l.DB(), Log: log, ServerName: "test"})}
	ctx := grant.With(t.Context(), "test", push.Writes, nil)
	return s, func(d push.Draft) error { return s.SetRule(ctx, alice, d) }
}

func TestRulesAreBoundedInNumberAndSize(t *testing.T) {
	var many push.Changes
	for i := range 1000 {
		many.Own.Room = append(many.Own.Room, push.Rule{ID: fmt.Sprintf("!%d:test", i), Enabled: true, Actions: []any{}})
	}
	s, set := open(t)
	content, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	ctx := grant.With(t.Context(), "test", push.Writes, nil)
	if err := s.Accounts.SetAccountData(ctx, alice, "", push.RulesType, content); err != nil {
		t.Fatal(err)
	}
	if err := set(push.Draft{Kind: "room", ID: "!0:test", Actions: json.RawMessage(`["notify"]`)}); err != nil {
		t.Errorf("one of 1000 rules cannot be changed: %v", err)
	}
	if err := set(push.Draft{Kind: "room", ID: "!more:test", Actions: json.RawMessage(`[]`)}); !mxerr.Is(err, "M_TOO_LARGE") {
		t.Errorf("rule 1001: %v", err)
	}
	_, set = open(t)
	long := strings.Repeat("x", 1000)
	for i := range 400 {
		p := long
		err := set(push.Draft{Kind: "content", ID: fmt.Sprint(i), Pattern: &p, Actions: json.RawMessage(`["notify"]`)})
		if mxerr.Is(err, "M_TOO_LARGE") {
			if i < 50 {
				t.Errorf("only %d rules of 1 KB fit", i)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("400 KB of rules fit")
}

func TestDevicesThatChangeRulesAtOnceLoseNothing(t *testing.T) {
	s, set := open(t)
	const devices = 4
	var wg sync.WaitGroup
	for i := range devices {
		wg.Go(func() {
			if err := set(push.Draft{Kind: "override", ID: fmt.Sprint(i), Actions: json.RawMessage(`[]`)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	rules, err := s.Rules(grant.With(t.Context(), "test", push.Reads, nil), alice)
	if err != nil {
		t.Fatal(err)
	}
	for i := range devices {
		if _, ok := rules.Global.Find("override", fmt.Sprint(i)); !ok {
			t.Errorf("rule %d is lost", i)
		}
	}
}
