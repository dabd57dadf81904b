package push

import (
	"context"
	"encoding/json"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/userlog"
)

// Service is the push domain. The rules of a user are changed by the user's own
// devices only, each change under the version of what it was made of, so that two
// devices at once lose nothing; what is repeated is the same once more.
type Service struct {
	DB       store.DB
	Accounts *accounts.Service
	Log      *userlog.Service
	Clock    clock.Clock
	// AnyGateway lets pushers name gateways without TLS, for development.
	AnyGateway bool
}

// Reads and Writes are what the operations use.
var (
	Reads  = accounts.Reads
	Writes = accounts.Writes
)

// RulesType is the type of account data that the rules are.
const RulesType = "m.push_rules"

// Rules returns all push rules of the user.
func (s *Service) Rules(ctx context.Context, user string) (Rulesets, error) {
	d, err := s.Accounts.AccountDataItem(ctx, user, "", RulesType)
	if err != nil && !mxerr.Is(err, "M_NOT_FOUND") {
		return Rulesets{}, err
	}
	c, err := ParseChanges(d.Content)
	if err != nil {
		return Rulesets{}, err
	}
	return c.Rules(user), nil
}

// Rule returns one rule, or M_NOT_FOUND.
func (s *Service) Rule(ctx context.Context, user, kind, id string) (Rule, error) {
	rules, err := s.Rules(ctx, user)
	if err != nil {
		return Rule{}, err
	}
	r, ok := rules.Global.Find(kind, id)
	if !ok {
		return Rule{}, notFound(kind, id)
	}
	return r, nil
}

// SetRule adds or replaces a rule of the user's own. A new rule is enabled, and
// the most important one of its kind unless it is placed next to another.
func (s *Service) SetRule(ctx context.Context, user string, d Draft) error {
	r, err := d.rule()
	if err != nil {
		return err
	}
	return s.change(ctx, user, func(c *Changes) error { return c.put(d.Kind, r, d.Before, d.After) })
}

// DeleteRule deletes a rule of the user's own.
func (s *Service) DeleteRule(ctx context.Context, user, kind, id string) error {
	return s.change(ctx, user, func(c *Changes) error { return c.remove(kind, id) })
}

// SetEnabled enables or disables a rule, also one of the server's.
func (s *Service) SetEnabled(ctx context.Context, user, kind, id string, enabled bool) error {
	return s.change(ctx, user, func(c *Changes) error { return c.edit(kind, id, &enabled, nil) })
}

// SetActions replaces the actions of a rule, also of one of the server's.
func (s *Service) SetActions(ctx context.Context, user, kind, id string, actions json.RawMessage) error {
	list, err := parseActions(actions)
	if err != nil {
		return err
	}
	return s.change(ctx, user, func(c *Changes) error { return c.edit(kind, id, nil, list) })
}

// change may call do more than once, each time with what the rules are by then.
func (s *Service) change(ctx context.Context, user string, do func(*Changes) error) error {
	return s.Accounts.UpdateAccountData(ctx, user, "", RulesType, func(content json.RawMessage) (json.RawMessage, error) {
		c, err := ParseChanges(content)
		if err != nil {
			return nil, err
		}
		if err := do(&c); err != nil {
			return nil, err
		}
		return c.encode()
	})
}
