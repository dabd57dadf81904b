package token_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/timeline/token"
)

var searches = []token.Search{
	{},
	{Ranked: true, Scope: "sender", Group: alice, Shown: 30, Top: token.Place{Time: 5, Room: 1<<64 - 1, Pos: 3}, LastRank: 1_500_000},
	{Scope: "room_id", Group: "!" + strings.Repeat("r", 254), Rooms: strings.Repeat("x", 255), Last: token.Place{Time: 1 << 53}},
}

func TestSearchTokensComeBackAsTheyWere(t *testing.T) {
	for _, s := range searches {
		got, err := token.ParseSearch(s.String())
		if err != nil || got != s {
			t.Errorf("%+v came back as %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "w1", "w1AAAA", "t1AAAA", token.Search{}.String() + "A", token.Position(7), strings.Repeat("w1", 1000)} {
		if got, err := token.ParseSearch(s); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%q is read as %+v, %v", s, got, err)
		}
	}
}

func FuzzParseSearch(f *testing.F) {
	for _, s := range searches {
		f.Add(s.String())
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := token.ParseSearch(text); err == nil && s.String() != text {
			t.Fatalf("%q and %q are the same token", text, s)
		}
	})
}
