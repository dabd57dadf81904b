// Package home is one homeserver: the domain services that routes and workers
// use, built once for the process.
package home

import "github.com/virga-im/virga/shared/accounts"

// Server is a homeserver. It has no methods; routes pick a service from it.
type Server struct {
	Accounts *accounts.Service
}
