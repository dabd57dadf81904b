package accounts_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
)

func TestTagsOfTwoDevicesAreNotLost(t *testing.T) {
	w := open(t, nil, nil, nil)
	user := w.register("alice").UserID
	const room, each = "!r:localhost", 10
	var wg sync.WaitGroup
	for device := range 2 {
		wg.Go(func() {
			for i := range each {
				tag := fmt.Sprintf("u.%d.%d", device, i)
				if err := w.SetTag(w.ctx, user, room, tag, json.RawMessage(`{"order":0.5}`)); err != nil {
					t.Error(err)
				}
				if i%2 == 1 {
					if err := w.DeleteTag(w.ctx, user, room, tag); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	tags, err := w.Tags(w.ctx, user, room)
	if err != nil || len(tags) != each {
		t.Errorf("%d tags of %d are left: %v, %v", len(tags), each, tags, err)
	}
	for device := range 2 {
		for i := 0; i < each; i += 2 {
			if tag := fmt.Sprintf("u.%d.%d", device, i); tags[tag] == nil {
				t.Errorf("%s was lost", tag)
			}
		}
	}
}
