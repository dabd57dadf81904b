package federation_test

import (
	"crypto/rand"
	"strings"
	"sync"
	"testing"

	"github.com/virga-im/virga/shared/federation"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
)

func TestServersThatStartTogetherSignWithOneKey(t *testing.T) {
	l, err := local.Open(local.NewMemory().Options())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx := grant.With(t.Context(), "test", grant.Of(federation.Signs, federation.MakesKey), nil)
	var mu sync.Mutex
	var wg sync.WaitGroup
	ids := map[string]bool{}
	for range 8 {
		wg.Go(func() {
			key, err := (&federation.Keys{DB: l.DB(), Rand: rand.Reader}).Signing(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[key.ID+string(key.Private)] = true
		})
	}
	wg.Wait()
	if len(ids) != 1 {
		t.Errorf("%d keys", len(ids))
	}
}

func TestASigningKeyIsImportedOnce(t *testing.T) {
	l, err := local.Open(local.NewMemory().Options())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx := grant.With(t.Context(), "test", grant.Of(federation.Signs, federation.MakesKey), nil)
	keys := &federation.Keys{DB: l.DB(), Rand: rand.Reader}
	const line = "ed25519 a_Old1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n"
	for range 2 { // at every start
		if err := keys.Import(ctx, line); err != nil {
			t.Fatal(err)
		}
	}
	key, err := keys.Signing(ctx)
	if err != nil || key.ID != "ed25519:a_Old1" {
		t.Errorf("%v, %v", key, err)
	}
	if err := keys.Import(ctx, strings.Replace(line, "Old1", "Old2", 1)); err == nil {
		t.Error("another key replaced the one that events are signed with")
	}
	for _, bad := range []string{"", "ed25519 a", "rsa a AAEC", "ed25519 a AAEC", "ed25519 a ???"} {
		if err := keys.Import(ctx, bad); err == nil {
			t.Errorf("%q was taken for a key", bad)
		}
	}
}
