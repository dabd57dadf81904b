package push

// DefaultRules are the server-default rules of a user who has changed none.
//
// https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
func DefaultRules(userID string) Rulesets {
	master := rule(".m.rule.master", nil)
	master.Enabled = false
	return Rulesets{Ruleset{
		Override: []Rule{
			master,
			rule(".m.rule.suppress_notices", nil, match("content.msgtype", "m.notice")),
			rule(".m.rule.invite_for_me", []any{"notify", sound("default")},
				match("type", "m.room.member"), match("content.membership", "invite"), match("state_key", userID)),
			rule(".m.rule.member_event", nil, match("type", "m.room.member")),
			rule(".m.rule.is_user_mention", []any{"notify", sound("default"), highlight()},
				Condition{Kind: "event_property_contains", Key: `content.m\.mentions.user_ids`, Value: userID}),
			rule(".m.rule.is_room_mention", []any{"notify", highlight()},
				Condition{Kind: "event_property_is", Key: `content.m\.mentions.room`, Value: true},
				Condition{Kind: "sender_notification_permission", Key: "room"}),
			rule(".m.rule.tombstone", []any{"notify", highlight()},
				match("type", "m.room.tombstone"), match("state_key", "")),
			rule(".m.rule.reaction", nil, match("type", "m.reaction")),
			rule(".m.rule.room.server_acl", nil, match("type", "m.room.server_acl"), match("state_key", "")),
			rule(".m.rule.suppress_edits", nil,
				Condition{Kind: "event_property_is", Key: `content.m\.relates_to.rel_type`, Value: "m.replace"}),
		},
		Content: []Rule{},
		Room:    []Rule{},
		Sender:  []Rule{},
		Underride: []Rule{
			rule(".m.rule.call", []any{"notify", sound("ring")}, match("type", "m.call.invite")),
			rule(".m.rule.encrypted_room_one_to_one", []any{"notify", sound("default")},
				members("2"), match("type", "m.room.encrypted")),
			rule(".m.rule.room_one_to_one", []any{"notify", sound("default")},
				members("2"), match("type", "m.room.message")),
			rule(".m.rule.message", []any{"notify"}, match("type", "m.room.message")),
			rule(".m.rule.encrypted", []any{"notify"}, match("type", "m.room.encrypted")),
		},
	}}
}

func rule(id string, actions []any, conditions ...Condition) Rule {
	if actions == nil {
		actions = []any{}
	}
	if conditions == nil {
		conditions = []Condition{}
	}
	return Rule{ID: id, Default: true, Enabled: true, Conditions: &conditions, Actions: actions}
}

func match(key, pattern string) Condition {
	return Condition{Kind: "event_match", Key: key, Pattern: &pattern}
}

func members(is string) Condition { return Condition{Kind: "room_member_count", Is: is} }

func sound(name string) Tweak { return Tweak{Set: "sound", Value: name} }

func highlight() Tweak { return Tweak{Set: "highlight"} }
