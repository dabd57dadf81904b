package token_test

import (
	"errors"
	"testing"

	"github.com/virga-im/virga/shared/timeline/token"
	"github.com/virga-im/virga/shared/userlog"
)

const (
	alice  = "@alice:example.org"
	device = "PHONE"
)

func TestTokensComeBackAsTheyWere(t *testing.T) {
	for _, s := range []token.Sync{{}, {Epoch: 1, N: 1}, {Epoch: 3, N: 1 << 40, ToDevice: 77}, {N: 2, Typing: "\x00\xffwho"}, {Epoch: 1, N: 1, Members: 1<<32 - 1, Typing: "who"}} {
		got, err := token.ParseSync(s.String(alice, device), alice, device)
		if err != nil || got != s {
			t.Errorf("%+v came back as %+v, %v", s, got, err)
		}
	}
	for _, p := range []userlog.Pos{0, userlog.FirstPos, 1<<64 - 1} {
		got, err := token.Parse(token.Position(p), alice, device)
		if err != nil || got.IsSync || got.Pos != p {
			t.Errorf("%s came back as %+v, %v", p, got, err)
		}
	}
}

func TestTokenOfAnotherDeviceIsRefused(t *testing.T) {
	s := token.Sync{Epoch: 1, N: 5}.String(alice, device)
	for _, who := range [][2]string{{alice, "LAPTOP"}, {"@bob:example.org", device}, {alice + "\x00", device}} {
		if _, err := token.ParseSync(s, who[0], who[1]); !errors.Is(err, token.ErrForeign) {
			t.Errorf("for %q: %v", who, err)
		}
	}
}

func TestAPositionIsNoSyncToken(t *testing.T) {
	if _, err := token.ParseSync(token.Position(7), alice, device); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("error is %v", err)
	}
}

func TestStrangeTokensAreRefused(t *testing.T) {
	for _, s := range []string{"", "s", "s1", "t1", "t1AAAA", "s72594_4483_1934", "x1AAAAAAAAAAA", "t1AAAAAAAAAAB", token.Position(1) + "="} {
		if tok, err := token.Parse(s, alice, device); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%q is read as %+v, %v", s, tok, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(token.Sync{Epoch: 1, N: 300, ToDevice: 2}.String(alice, device))
	f.Add(token.Position(userlog.FirstPos))
	f.Add(token.Sync{Epoch: 1, N: 300, Members: 77}.String(alice, device))
	f.Add("s1AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := token.Parse(s, alice, device)
		if err != nil {
			return
		}
		again := token.Position(tok.Pos)
		if tok.IsSync {
			again = tok.Sync.String(alice, device)
		}
		if again != s {
			t.Fatalf("%q and %q are the same token", s, again)
		}
	})
}
