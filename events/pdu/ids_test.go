package pdu_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/pdu"
	"github.com/virga-im/virga/events/roomversion"
)

// The ids were computed apart from this code, from the spec's steps: redact,
// take signatures and unsigned away, hash, encode. In each version they show what
// redaction keeps, for what it took away would not change them.
//
// https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event
func TestEventIDsOfEveryVersion(t *testing.T) {
	const event = `{"auth_events":["$a","$b"],"depth":7,"hashes":{"sha256":"thishashcoversallfieldsincasethisisredacted"},"membership":"join","origin":"b.org","origin_server_ts":1000000,"prev_events":["$c"],"prev_state":[],"redacts":"$d","room_id":"!r:b.org","sender":"@a:b.org","signatures":{"b.org":{"ed25519:1":"x"}},"state_key":"@a:b.org","unsigned":{"age":4}}`
	for _, test := range []struct {
		typ, content string
		ids          map[string]string
	}{
		{"m.room.member", `{"displayname":"x","join_authorised_via_users_server":"@b:b.org","membership":"join","third_party_invite":{"display_name":"y","signed":{"mxid":"@a:b"}}}`, map[string]string{
			"$+VL0czYDeIaKH16SpDqIF6K3JEA+oSCwM7edYd/C1ZM": "3",
			"$-VL0czYDeIaKH16SpDqIF6K3JEA-oSCwM7edYd_C1ZM": "4 5 6 7 8",
			"$cbWTaPylziN1lWCAjWSwbE2CMpBJkPg6_ia12LM719k": "9 10",
			"$wQfJscVPsPxgQrLe3ldj4tYbKwS2aW9urZj2dZQxzlg": "11",
			"$BgdU9VduNFnDCZDR4v7Xl4jtGqlLpIzLuKGFWyYE3mE": "12",
		}},
		{"m.room.create", `{"creator":"@a:b.org","m.federate":true,"room_version":"1"}`, map[string]string{
			"$F6TuEc5YBZzD8jWf/Q7Tp7od86uL3TF7Nbng0UYe5Zg": "3",
			"$F6TuEc5YBZzD8jWf_Q7Tp7od86uL3TF7Nbng0UYe5Zg": "4 5 6 7 8 9 10",
			"$Y79rkxjFdAnvVKZRIU9_Uu4EIfXu2oaKBCWVcR4Km-I": "11",
		}},
		{"m.room.join_rules", `{"allow":[],"join_rule":"restricted","x":1}`, map[string]string{
			"$bNcLHqxx06hm6s/uhfstOa7n39AaPNarG1KtrCy78w0": "3",
			"$bNcLHqxx06hm6s_uhfstOa7n39AaPNarG1KtrCy78w0": "4 5 6 7",
			"$V-oWIKDR22qWD5c_CFDRFoOBoQy264IyoJvAAXInKHs": "8 9 10",
			"$o0AgBW2UhU7tJRGacFZivofpbfiWWeobfVDAxzPesks": "11",
			"$yfRQY7cT1POfvOeSBZTrBaU1R38PfMtwo9SdUAGv7PE": "12",
		}},
		{"m.room.power_levels", `{"ban":1,"events":{"x":1},"events_default":1,"invite":7,"kick":1,"notifications":{"room":1},"redact":1,"state_default":1,"users":{"@a:b":1},"users_default":1}`, map[string]string{
			"$v0DV+0/8KDmMeHCXsRxgil41fH06gE76ac5prY7J+Po": "3",
			"$v0DV-0_8KDmMeHCXsRxgil41fH06gE76ac5prY7J-Po": "4 5 6 7 8 9 10",
			"$qfaiOuE8LSVWPW6wf2lFAutkPzRQe9zsBjjppxQ5o5I": "11",
			"$07ZkohURiuNcXX_YxWmY3WzSV_jCIrfv5pDaIkut-bw": "12",
		}},
		{"m.room.aliases", `{"aliases":["#a:b"]}`, map[string]string{
			"$ogtR2kyeXHuJzWxUFb5/gBDaRBxxQUP3NdmMoNPHBAo": "3",
			"$ogtR2kyeXHuJzWxUFb5_gBDaRBxxQUP3NdmMoNPHBAo": "4 5",
			"$RxFK4hXaW4-cui2jHKixFP505Oughg4Xm-uw7jpCYsY": "6 7 8 9 10",
			"$sDLY6V0NsTOv1Nw0grKQuJYXd4J3NC4n-JtAIz9TNto": "11",
			"$9zMHpSdE6Jtj0sqCM4HFyjsfgYe-IvATUYxsXFQpBpc": "12",
		}},
		{"m.room.history_visibility", `{"history_visibility":"shared","x":"` + "\u2028" + `"}`, map[string]string{
			"$9yZKhTg01dqhJasVbyaLGqw61VnxpH1Fn0Ajj8XppsA": "3 4 5 6 7 8 9 10",
			"$tU4OJKko8bBbyn5T4sQQWA-Dc31E2glgXsLBSOwR5Xg": "11",
			"$zDuCuw1kyDbxJLRuEZMuhP7CRgZL0ODFM-KGv-78teY": "12",
		}},
		{"m.room.redaction", `{"reason":"z","redacts":"$d"}`, map[string]string{
			"$aNL0oXc/jWupatc4I9wc3TVrPUqTdntL80bAvSxfggo": "3",
			"$aNL0oXc_jWupatc4I9wc3TVrPUqTdntL80bAvSxfggo": "4 5 6 7 8 9 10",
			"$grhEyfp794JRyZil4Be9OG8TaSMpNHdikiz5pBnMVqE": "11",
			"$GqrIufS9Q49MQOwibsbdSwl0-lU5XQJ4HVVeglzibos": "12",
		}},
		{"m.room.message", `{"body":"x"}`, map[string]string{
			"$rDmf7/+COeKCnB4JqjCXrqBR0NO6XnKBULsYuWQBfqI": "3",
			"$rDmf7_-COeKCnB4JqjCXrqBR0NO6XnKBULsYuWQBfqI": "4 5 6 7 8 9 10",
			"$6Z4jVpdrIf4woXVjMpQIN9sorB-CG9jC2A6jg_h-AQM": "11",
			"$KLmufN_LNMy9i1i098ooG4G52RhPy0muw_S3AyAOczs": "12",
		}},
	} {
		var seen []string
		for want, versions := range test.ids {
			for _, name := range strings.Fields(versions) {
				v := version(t, name)
				raw := strings.Replace(event, `{`, `{"content":`+test.content+`,"type":"`+test.typ+`",`, 1)
				if v.HashRoomIDs {
					raw = strings.Replace(raw, "!r:b.org", "!"+strings.Repeat("r", 43), 1)
				}
				got, err := pdu.ID(v, []byte(raw))
				if err != nil || got != want {
					t.Errorf("version %s, %s: %s, %v, want %s", name, test.typ, got, err, want)
				}
				seen = append(seen, name)
			}
		}
		for _, v := range roomversion.All() {
			given := v.GivenEventIDs() || v.HashRoomIDs && test.typ == "m.room.create"
			if !given && !slices.Contains(seen, v.ID) {
				t.Errorf("no id of %s in version %s", test.typ, v.ID)
			}
		}
	}
}
