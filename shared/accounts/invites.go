package accounts

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/virga-im/virga/events/id"
)

// InviteDecision is what becomes of an invite.
type InviteDecision int

// The decisions.
const (
	// InviteAllowed invites are shown to the user.
	InviteAllowed InviteDecision = iota
	// InviteIgnored invites are accepted, and the user never hears of them.
	InviteIgnored
	// InviteBlocked invites are refused.
	InviteBlocked
)

// The account data that decide. The last two are spellings and rules of before
// Matrix 1.18, which clients still write.
const (
	inviteConfigType    = "m.invite_permission_config"
	oldInviteConfigType = "org.matrix.msc4380.invite_permission_config"
	inviteRulesType     = "org.matrix.msc4155.invite_permission_config"
)

// InviteRules are whose invites a user wants.
type InviteRules struct {
	block   bool
	ignored map[string]json.RawMessage
	rules   inviteRules
}

// inviteRules is the content of inviteRulesType: patterns, in which * stands for
// any characters and ? for one.
type inviteRules struct {
	Enabled        *bool    `json:"enabled"`
	AllowedUsers   []string `json:"allowed_users"`
	IgnoredUsers   []string `json:"ignored_users"`
	BlockedUsers   []string `json:"blocked_users"`
	AllowedServers []string `json:"allowed_servers"`
	IgnoredServers []string `json:"ignored_servers"`
	BlockedServers []string `json:"blocked_servers"`
}

// InviteRules reads whose invites a local user wants. It costs four read units.
//
// https://spec.matrix.org/v1.19/client-server-api/#invite-permission
func (s *Service) InviteRules(ctx context.Context, user string) (*InviteRules, error) {
	content, err := s.AccountDataItems(ctx, user, IgnoredUsersType, inviteConfigType, oldInviteConfigType, inviteRulesType)
	if err != nil {
		return nil, err
	}
	r := &InviteRules{ignored: IgnoredUsers(content[IgnoredUsersType])}
	config, ok := content[inviteConfigType]
	if !ok {
		config = content[oldInviteConfigType]
	}
	var c struct {
		Default string `json:"default_action"`
	}
	r.block = json.Unmarshal(config, &c) == nil && c.Default == "block"
	// A list of another type voids all of it, or what was meant to be allowed would
	// be blocked.
	if json.Unmarshal(content[inviteRulesType], &r.rules) != nil {
		r.rules = inviteRules{}
	}
	return r, nil
}

// Of decides on an invite by its sender.
func (r *InviteRules) Of(sender string) InviteDecision {
	if r.block {
		return InviteBlocked
	}
	if _, ignored := r.ignored[sender]; ignored {
		return InviteIgnored
	}
	if r.rules.Enabled != nil && !*r.rules.Enabled {
		return InviteAllowed
	}
	server := id.Server(sender)
	for _, rule := range []struct {
		patterns []string
		name     string
		decision InviteDecision
	}{
		{r.rules.AllowedUsers, sender, InviteAllowed},
		{r.rules.IgnoredUsers, sender, InviteIgnored},
		{r.rules.BlockedUsers, sender, InviteBlocked},
		{r.rules.AllowedServers, server, InviteAllowed},
		{r.rules.IgnoredServers, server, InviteIgnored},
		{r.rules.BlockedServers, server, InviteBlocked},
	} {
		if slices.ContainsFunc(rule.patterns, func(p string) bool { return fits(p, rule.name) }) {
			return rule.decision
		}
	}
	return InviteAllowed
}

// fits reports whether a name fits a pattern. It takes time in proportion to the
// product of their lengths at most, whatever the pattern.
func fits(pattern, name string) bool {
	p, n := 0, 0
	star, from := -1, 0 // the last * and where what it stands for ends
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p, n = p+1, n+1
		case star >= 0:
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
