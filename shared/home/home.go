// Package home is one homeserver: the domain services that routes and workers
// use, built once for the process.
package home

import (
	"crypto/rand"

	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/blob"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/directory"
	"github.com/virga-im/virga/shared/federation"
	"github.com/virga-im/virga/shared/gateway"
	"github.com/virga-im/virga/shared/moderation"
	"github.com/virga-im/virga/shared/outbound"
	"github.com/virga-im/virga/shared/push"
	"github.com/virga-im/virga/shared/queue"
	"github.com/virga-im/virga/shared/rooms"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
	"github.com/virga-im/virga/shared/wake"
)

// Server is a homeserver. It has no methods; routes pick a service from it.
type Server struct {
	About      *Self
	Accounts   *accounts.Service
	Directory  *directory.Service
	Keys       *federation.Keys
	Push       *push.Service
	Timeline   *timeline.Service
	Rooms      *rooms.Service
	Gateway    *gateway.Service
	Moderation *moderation.Service
}

// Self is what the server knows of itself.
type Self struct {
	Config *config.Config
	// Serves holds the operationId of every route. What the server tells about
	// itself is derived from it, so that nothing is promised that is not there.
	Serves map[string]bool
	Clock  clock.Clock
}

// Options are what a homeserver is built of. All but Operations are required.
type Options struct {
	Config *config.Config
	DB     store.DB
	Queues queue.Sender
	Blobs  blob.Store
	Wake   wake.Service
	Clock  clock.Clock
	// Operations are the names of the routes that are served.
	Operations []string
}

// New builds the services. It reads and writes nothing: secrets and signing keys
// are rows that whoever needs them first makes.
func New(o Options) (*Server, error) {
	c := o.Config
	self := &Self{Config: c, Serves: make(map[string]bool, len(o.Operations)), Clock: o.Clock}
	for _, name := range o.Operations {
		self.Serves[name] = true
	}
	// The domains, in their one written order.
	log := &userlog.Service{DB: o.DB, Clock: o.Clock, Waker: o.Wake}
	people := accounts.New(accounts.Options{
		DB: o.DB, Clock: o.Clock, Log: log,
		ServerName:   c.ServerName,
		Registration: string(c.Registration),
		SharedSecret: c.RegistrationSharedSecret,
		PasswordCost: string(c.PasswordCost),
		NoLimits:     !c.RateLimits,
	})
	aliases := &directory.Service{DB: o.DB, ServerName: c.ServerName}
	keys := &federation.Keys{DB: o.DB, Rand: rand.Reader}
	rules := &push.Service{DB: o.DB, Accounts: people, Log: log, Clock: o.Clock, AnyGateway: c.AllowPrivateAddresses}
	read := timeline.New(timeline.Options{
		DB: o.DB, Clock: o.Clock, Log: log, Accounts: people, ServerName: c.ServerName, Presence: c.Presence, Queues: o.Queues,
	})
	write := rooms.New(rooms.Options{
		DB: o.DB, Clock: o.Clock, ServerName: c.ServerName,
		Keys: keys, Accounts: people, Directory: aliases, Push: rules, Timeline: read, Log: log, Queues: o.Queues,
		ForgetOnLeave: c.ForgetOnLeave,
	})
	phones := &gateway.Service{
		Clock: o.Clock, Log: log, Push: rules, Timeline: read, Queues: o.Queues,
		Client: outbound.Client(c.AllowPrivateAddresses),
	}
	reports := &moderation.Service{Options: moderation.Options{DB: o.DB, Clock: o.Clock, Timeline: read, Log: log, NoLimits: !c.RateLimits}}
	return &Server{
		About: self, Accounts: people, Directory: aliases, Keys: keys, Push: rules, Timeline: read, Rooms: write, Gateway: phones, Moderation: reports,
	}, nil
}

// The selectors of route.Handle and its kin.

// About selects what the server knows of itself.
func About(s *Server) *Self { return s.About }

// Accounts selects the accounts domain.
func Accounts(s *Server) *accounts.Service { return s.Accounts }

// Directory selects the directory domain.
func Directory(s *Server) *directory.Service { return s.Directory }

// Push selects the push domain.
func Push(s *Server) *push.Service { return s.Push }

// Timeline selects the timeline domain.
func Timeline(s *Server) *timeline.Service { return s.Timeline }

// Rooms selects the rooms domain.
func Rooms(s *Server) *rooms.Service { return s.Rooms }

// Whole selects all of it, for what is done for several domains.
func Whole(s *Server) *Server { return s }

// Moderation selects the moderation domain.
func Moderation(s *Server) *moderation.Service { return s.Moderation }
