package accounts_test

import (
	"encoding/json"
	"testing"

	"github.com/virga-im/virga/shared/accounts"
)

func TestWhoseInvitesAUserWants(t *testing.T) {
	const (
		config = "m.invite_permission_config"
		old    = "org.matrix.msc4380.invite_permission_config"
		rules  = "org.matrix.msc4155.invite_permission_config"
		ignore = "m.ignored_user_list"
		sender = "@spam1:bad.example.org"
	)
	for name, c := range map[string]struct {
		data map[string]string
		want accounts.InviteDecision
	}{
		"nothing":                      {nil, accounts.InviteAllowed},
		"block all":                    {map[string]string{config: `{"default_action":"block"}`}, accounts.InviteBlocked},
		"another action":               {map[string]string{config: `{"default_action":"ask"}`}, accounts.InviteAllowed},
		"no action":                    {map[string]string{config: `{}`}, accounts.InviteAllowed},
		"an action that is no string":  {map[string]string{config: `{"default_action":true}`}, accounts.InviteAllowed},
		"the old type":                 {map[string]string{old: `{"default_action":"block"}`}, accounts.InviteBlocked},
		"the new type counts":          {map[string]string{old: `{"default_action":"block"}`, config: `{}`}, accounts.InviteAllowed},
		"ignored":                      {map[string]string{ignore: `{"ignored_users":{"` + sender + `":{}}}`}, accounts.InviteIgnored},
		"ignored and block all":        {map[string]string{ignore: `{"ignored_users":{"` + sender + `":{}}}`, config: `{"default_action":"block"}`}, accounts.InviteBlocked},
		"a blocked user":               {map[string]string{rules: `{"blocked_users":["@spam?:*"]}`}, accounts.InviteBlocked},
		"another blocked user":         {map[string]string{rules: `{"blocked_users":["@spam?"]}`}, accounts.InviteAllowed},
		"an allowed user":              {map[string]string{rules: `{"allowed_users":["@spam1:*"],"blocked_users":["@spam*"]}`}, accounts.InviteAllowed},
		"an ignored user":              {map[string]string{rules: `{"ignored_users":["*"],"blocked_users":["*"]}`}, accounts.InviteIgnored},
		"users come before servers":    {map[string]string{rules: `{"blocked_users":["*"],"allowed_servers":["*"]}`}, accounts.InviteBlocked},
		"a blocked server":             {map[string]string{rules: `{"blocked_servers":["*.example.org"]}`}, accounts.InviteBlocked},
		"a server with exceptions":     {map[string]string{rules: `{"allowed_servers":["bad*"],"blocked_servers":["*"]}`}, accounts.InviteAllowed},
		"an ignored server":            {map[string]string{rules: `{"ignored_servers":["bad.example.org"]}`}, accounts.InviteIgnored},
		"turned off":                   {map[string]string{rules: `{"enabled":false,"blocked_users":["*"]}`}, accounts.InviteAllowed},
		"turned off, the user ignored": {map[string]string{rules: `{"enabled":false}`, ignore: `{"ignored_users":{"` + sender + `":{}}}`}, accounts.InviteIgnored},
		"a list that is none":          {map[string]string{rules: `{"allowed_users":"@a:b","blocked_users":["*"]}`}, accounts.InviteAllowed},
	} {
		w := open(t, nil, nil, nil)
		user := w.register("alice").UserID
		for typ, content := range c.data {
			if err := w.SetAccountData(w.ctx, user, "", typ, json.RawMessage(content)); err != nil {
				t.Fatal(err)
			}
		}
		rules, err := w.InviteRules(w.ctx, user)
		if err != nil {
			t.Fatal(err)
		}
		if got := rules.Of(sender); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
