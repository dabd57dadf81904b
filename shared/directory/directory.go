// Package directory maps room aliases to rooms, and lists published rooms.
//
// Rows of the rooms table:
//
//	ALIAS#alias / ALIAS   {room, creator}  the alias; the truth
//	R#room / AL#alias     {}               the same, listed by room
//
// and of the server table:
//
//	PUBLIC / room         Publication      the room is published; the truth
//	LISTED / members#room Listing          what the directory shows of it, in order
//	LISTEDCOUNT / COUNT   {n}              how many are listed
//
// The first two are written in one transaction. Losing the second only shortens
// the list of a room's aliases. PUBLIC is written by createRoom and by whoever
// publishes a room; LISTED and the count follow from it and from the room's state,
// in one transaction with PUBLIC's version, by the worker that fans out the
// change of the room. They lag as fan-out does, and are made anew by the next
// change of the room's state. A LISTED row is about 500 bytes, and at most as
// large as two events.
package directory

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
)

// Service is the directory domain.
type Service struct {
	DB         store.DB
	ServerName string
}

// Reads is what looking up aliases uses.
var Reads = grant.ReadTable("rooms")

// Writes is what changing aliases uses.
var Writes = grant.Of(Reads, grant.WriteTable("rooms"))

// Alias is a local alias.
type Alias struct {
	Alias   string `db:"-"`
	Room    string `db:"room"`
	Creator string `db:"by"`
}

func aliasKey(alias string) store.Key { return store.Key{Part: "ALIAS#" + alias, Sort: "ALIAS"} }

const listPre = "AL#"

// PublishWrite returns the write that publishes a room in the server's room
// directory, for a transaction.
//
// https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
func PublishWrite(room string) store.Write {
	return store.Put(store.Server, publicKey(room), store.Attrs{})
}

func listKey(room, alias string) store.Key {
	return store.Key{Part: "R#" + room, Sort: listPre + alias}
}

// Lookup returns a local alias, or M_NOT_FOUND.
func (s *Service) Lookup(ctx context.Context, alias string) (Alias, error) {
	a := Alias{Alias: alias}
	it, err := s.DB.Get(ctx, store.Ref{Table: store.Rooms, Key: aliasKey(alias)}, store.Consistent)
	if errors.Is(err, store.ErrNotFound) {
		return a, mxerr.NotFound("There is no room with the alias %s.", alias)
	}
	if err != nil {
		return a, fmt.Errorf("read alias %s: %w", alias, err)
	}
	return a, store.Decode(it, &a)
}

// OfRoom lists the local aliases of a room.
func (s *Service) OfRoom(ctx context.Context, room string) ([]string, error) {
	aliases := []string{}
	q := store.Query{Table: store.Rooms, Part: "R#" + room, Consistency: store.Consistent}.Prefix(listPre)
	for it, err := range store.All(ctx, s.DB, q) {
		if err != nil {
			return nil, fmt.Errorf("read aliases of %s: %w", room, err)
		}
		aliases = append(aliases, strings.TrimPrefix(it.Key.Sort, listPre))
	}
	return aliases, nil
}

// CheckNew reports whether the alias may be made on this server: M_INVALID_PARAM
// if it is malformed or belongs to another server.
func (s *Service) CheckNew(alias string) error {
	if !id.ValidAlias(alias) {
		return mxerr.InvalidParam("%q is not a room alias; an alias looks like #name:%s.", alias, s.ServerName)
	}
	if id.Server(alias) != s.ServerName {
		return mxerr.InvalidParam("The alias %s belongs to another server; aliases made here end in :%s.", alias, s.ServerName)
	}
	return nil
}

// NewWrites returns the writes that make an alias, for a transaction. The first
// fails if the alias exists; InUse is the error to answer then.
func NewWrites(a Alias) []store.Write {
	return []store.Write{
		store.Put(store.Rooms, aliasKey(a.Alias), store.Encode(a)).If(store.NotExists()),
		store.Put(store.Rooms, listKey(a.Room, a.Alias), store.Attrs{}),
	}
}

// InUse is the error of making an alias that exists; code is the one that the
// operation answers with.
func InUse(status int, code, alias string) error {
	return mxerr.New(status, code, "The alias %s is taken.", alias)
}

// Add makes an alias. To make it again for the same room is M_UNKNOWN with
// status 409, as for another room.
func (s *Service) Add(ctx context.Context, a Alias) error {
	err := s.DB.Transact(ctx, NewWrites(a)...)
	if store.Failed(err) != nil {
		return InUse(http.StatusConflict, "M_UNKNOWN", a.Alias)
	}
	if err != nil {
		return fmt.Errorf("make alias %s: %w", a.Alias, err)
	}
	return nil
}

// Remove deletes an alias that was looked up before; if it points elsewhere by
// now, nothing happens.
func (s *Service) Remove(ctx context.Context, a Alias) error {
	err := s.DB.Transact(ctx,
		store.Delete(store.Rooms, aliasKey(a.Alias)).If(store.Equal("room", a.Room)),
		store.Delete(store.Rooms, listKey(a.Room, a.Alias)),
	)
	if err != nil && store.Failed(err) == nil {
		return fmt.Errorf("delete alias %s: %w", a.Alias, err)
	}
	return nil
}

// Move makes an alias of a room one of another. If it points elsewhere by now,
// nothing happens.
func (s *Service) Move(ctx context.Context, alias, from, to string) error {
	err := s.DB.Transact(ctx,
		store.Update(store.Rooms, aliasKey(alias)).Set("room", to).If(store.Equal("room", from)),
		store.Delete(store.Rooms, listKey(from, alias)),
		store.Put(store.Rooms, listKey(to, alias), store.Attrs{}),
	)
	if err != nil && store.Failed(err) == nil {
		return fmt.Errorf("move alias %s: %w", alias, err)
	}
	return nil
}
