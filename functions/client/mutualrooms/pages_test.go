package mutualrooms

import (
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
)

func TestTokensOfPages(t *testing.T) {
	const room = "!a:example.org"
	good := base64.RawURLEncoding.EncodeToString([]byte(room))
	if got, err := afterRoom(good); err != nil || got != room {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"x", good + "=", base64.RawURLEncoding.EncodeToString([]byte("no room"))} {
		if _, err := afterRoom(bad); err == nil {
			t.Errorf("%q is taken for a token", bad)
		}
	}
}

func TestPagesHaveEachRoomOnce(t *testing.T) {
	for _, n := range []int{0, 1, page, page + 1, 3 * page} {
		var rooms, got []string
		for i := range n {
			rooms = append(rooms, fmt.Sprintf("!%04d:example.org", i))
		}
		for after, pages := "", 1; ; pages++ {
			resp := pageOf(rooms, after)
			got = append(got, resp.Joined...)
			if resp.Count != n || len(resp.Joined) > page || pages > 3 {
				t.Errorf("%d rooms: page %d has %d of %d", n, pages, len(resp.Joined), resp.Count)
			}
			if resp.NextBatch == "" {
				break
			}
			var err error
			if after, err = afterRoom(resp.NextBatch); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, rooms) {
			t.Errorf("of %d rooms the pages had %d", n, len(got))
		}
	}
}
