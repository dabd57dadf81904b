package accounts_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/userlog"
)

func TestAccountDataIsKeptAndAnnounced(t *testing.T) {
	w := open(t, nil, nil, nil)
	user := w.register("alice").UserID
	set := func(room, typ, content string) {
		t.Helper()
		if err := w.SetAccountData(w.ctx, user, room, typ, json.RawMessage(content)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.AccountDataItem(w.ctx, user, "", "m.direct")
	wants(t, err, "M_NOT_FOUND")
	set("", "m.direct", `{"a":1}`)
	set("", "m.direct", `{"a":2}`)
	set("!r:localhost", "m.direct", `{"a":3}`)
	set("!r:localhost", "a#b", `{}`)
	set("!r:localhost2", "c", `{}`)
	for _, c := range []struct{ room, want string }{
		{"", `[{"type":"m.direct","content":{"a":2}}]`},
		{"!r:localhost", `[{"type":"a#b","content":{}},{"type":"m.direct","content":{"a":3}}]`},
		{"!r:localhost2", `[{"type":"c","content":{}}]`},
		{"!none:localhost", `null`},
	} {
		data, err := w.AccountData(w.ctx, user, c.room)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := json.Marshal(data); string(got) != c.want {
			t.Errorf("%q has %s, want %s", c.room, got, c.want)
		}
	}
	if all, err := w.AllAccountData(w.ctx, user); err != nil || len(all) != 4 || all[0].Room != "!r:localhost" || all[3].Room != "" {
		t.Errorf("%+v, %v", all, err)
	}
	page, err := w.log.After(w.ctx, user, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range page.Entries {
		got = append(got, string(e.Kind)+" "+e.Room+" "+e.Type)
	}
	want := "account_data  m.direct|account_data  m.direct|account_data !r:localhost m.direct|account_data !r:localhost a#b|account_data !r:localhost2 c"
	if strings.Join(got, "|") != want {
		t.Errorf("announced %q", got)
	}

	wants(t, w.SetAccountData(w.ctx, user, "", "big", json.RawMessage(strings.Repeat(" ", 257<<10)+"{}")), "M_TOO_LARGE")
	wants(t, w.SetAccountData(w.ctx, user, "", strings.Repeat("t", 256), json.RawMessage("{}")), "M_INVALID_PARAM")
	wants(t, w.SetAccountData(w.ctx, user, "", "\xff", json.RawMessage("{}")), "M_INVALID_PARAM")
}

func TestAccountDataIsBoundedTogether(t *testing.T) {
	w := open(t, nil, nil, nil)
	user := w.register("alice").UserID
	big := json.RawMessage(`"` + strings.Repeat("x", 250<<10) + `"`)
	for i := range 16 {
		if err := w.SetAccountData(w.ctx, user, "", "big"+strconv.Itoa(i), big); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, w.SetAccountData(w.ctx, user, "", "more", big), "M_TOO_LARGE")
	// What is there can be written again, and what is made smaller makes room.
	for _, c := range []struct {
		typ     string
		content json.RawMessage
	}{{"big0", big}, {"big0", json.RawMessage("{}")}, {"more", big}, {"big0", json.RawMessage("{}")}} {
		if err := w.SetAccountData(w.ctx, user, "", c.typ, c.content); err != nil {
			t.Errorf("%s: %v", c.typ, err)
		}
	}
	wants(t, w.SetAccountData(w.ctx, user, "", "big0", big), "M_TOO_LARGE")
	if all, err := w.AllAccountData(w.ctx, user); err != nil || len(all) != 17 {
		t.Errorf("%d items, %v", len(all), err)
	}
}

func TestManyWritersOfOneItemAllSucceed(t *testing.T) {
	w := open(t, nil, nil, nil)
	user := w.register("alice").UserID
	if good, errs := atOnce(20, func(i int) error {
		return w.SetAccountData(w.ctx, user, "", "t", json.RawMessage(`"`+strings.Repeat("x", i)+`"`))
	}); good != 20 {
		t.Error(errs)
	}
}

func TestUpdatesOfAccountDataAreNotLost(t *testing.T) {
	w := open(t, nil, nil, nil)
	user := w.register("alice").UserID
	good, errs := atOnce(4, func(int) error {
		return w.UpdateAccountData(w.ctx, user, "", "counter", func(old json.RawMessage) (json.RawMessage, error) {
			c := struct {
				N int `json:"n"`
			}{}
			if old != nil {
				if err := json.Unmarshal(old, &c); err != nil {
					return nil, err
				}
			}
			c.N++
			return json.Marshal(c)
		})
	})
	item, err := w.AccountDataItem(w.ctx, user, "", "counter")
	if err != nil || string(item.Content) != `{"n":`+strconv.Itoa(good)+`}` || good != 4 {
		t.Errorf("%d updates made %s, %v %v", good, item.Content, err, errs)
	}
	if p, err := w.log.After(w.ctx, user, 0, 100); err != nil || len(p.Entries) != 4 || p.Entries[0].Kind != userlog.KindAccountData {
		t.Errorf("announced %v, %v", p.Entries, err)
	}
}

func TestProfileFields(t *testing.T) {
	w := open(t, nil, nil, nil)
	user := w.register("alice").UserID
	for _, c := range []struct{ field, value, code string }{
		{"displayname", `"Alice <3"`, ""},
		{"displayname", `7`, "M_INVALID_PARAM"},
		{"displayname", `null`, "M_INVALID_PARAM"},
		{"displayname", `"` + strings.Repeat("x", 257) + `"`, "M_INVALID_PARAM"},
		{"displayname", `"\ud800"`, "M_BAD_JSON"},
		{"org.example.pronouns", `{"en":1,"en":2}`, "M_BAD_JSON"},
		{"avatar_url", `"mxc://localhost/a"`, ""},
		{"m.tz", `"Europe/London"`, ""},
		{"m.tz", `"Europe/Nowhere"`, "M_INVALID_PARAM"},
		{"m.tz", `"Local"`, "M_INVALID_PARAM"},
		{"org.example.pronouns", `{"en":["she"]}`, ""},
		{"org.example.pronouns", `{`, "M_BAD_JSON"},
		{"Org", `1`, "M_INVALID_PARAM"},
		{strings.Repeat("k", 256), `1`, "M_KEY_TOO_LARGE"},
		{"org.example.big", `"` + strings.Repeat("x", 64<<10) + `"`, "M_PROFILE_TOO_LARGE"},
	} {
		err := w.SetProfileField(w.ctx, user, c.field, json.RawMessage(c.value))
		if c.code != "" {
			wants(t, err, c.code)
		} else if err != nil {
			t.Errorf("%s: %v", c.field, err)
		}
	}
	p, err := w.Profile(w.ctx, user)
	if err != nil || p.DisplayName() != "Alice <3" || p.AvatarURL() != "mxc://localhost/a" || len(p) != 4 {
		t.Errorf("%s, %v", p, err)
	}
	for range 2 {
		if err := w.DeleteProfileField(w.ctx, user, "org.example.pronouns"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.SetProfileField(w.ctx, user, "displayname", json.RawMessage(`""`)); err != nil {
		t.Fatal(err)
	}
	if p, err := w.Profile(w.ctx, user); err != nil || len(p) != 2 {
		t.Errorf("%s, %v", p, err)
	}
	_, err = w.Profile(w.ctx, "@nobody:localhost")
	wants(t, err, "M_NOT_FOUND")

	fields := []string{"a", "b", "c", "d"}
	if good, errs := atOnce(4, func(i int) error {
		return w.SetProfileField(w.ctx, user, "org.example."+fields[i], json.RawMessage("1"))
	}); good != 4 {
		t.Error(errs)
	}
	if p, _ := w.Profile(w.ctx, user); len(p) != 6 {
		t.Errorf("fields of writers at once were lost: %s", p)
	}
}

func TestTheSizeOfAProfileIsThatOfItsJSON(t *testing.T) {
	w := open(t, nil, nil, nil)
	user := w.register("alice").UserID
	set := func(n int) error {
		return w.SetProfileField(w.ctx, user, "org.example.art", json.RawMessage(`"`+strings.Repeat("<", n)+`"`))
	}
	rest := len(`{"org.example.art":""}`)
	if err := set(64<<10 - rest); err != nil {
		t.Error(err)
	}
	wants(t, set(64<<10-rest+1), "M_PROFILE_TOO_LARGE")
	p, err := w.Profile(w.ctx, user)
	if err != nil {
		t.Fatal(err)
	}
	var art string
	if err := json.Unmarshal(p["org.example.art"], &art); err != nil || len(art) != 64<<10-rest {
		t.Errorf("the art has %d bytes, %v", len(art), err)
	}
}
