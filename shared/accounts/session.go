package accounts

import (
	"context"

	"github.com/virga-im/virga/shared/grant"
)

// Session is what an access token stands for.
type Session struct {
	UserID   string
	DeviceID string
	// Admin users may call /_synapse/admin.
	Admin bool
	// Guest users may call few routes.
	Guest bool
}

// Authenticates is what Authenticate uses.
var Authenticates = grant.Of(grant.ReadTable("tokens"))

// Authenticate returns the session of an access token, or M_UNKNOWN_TOKEN.
func (s *Service) Authenticate(ctx context.Context, token string) (Session, error) {
	panic("written next")
}

// Service is the accounts domain.
type Service struct{}
