package store

// Table is a table of the data model. All tables have a partition key and a
// sort key, both strings, and a time to live.
type Table struct {
	Name string
	// Streamed tables publish a Change for every write.
	Streamed bool
}

// Changes names the change stream of a streamed table as a worker's trigger.
func (t *Table) Changes() ChangeStream { return ChangeStream{t} }

// ChangeStream is the trigger of a worker that follows a table.
type ChangeStream struct{ Table *Table }

// String names the stream.
func (c ChangeStream) String() string { return c.Table.Name + " changes" }

// The tables. A row kind is documented by the package that writes it, with its
// keys, its size, and what happens if it is lost or lags: rooms and events in
// shared/timeline/rows.go, aliases in shared/directory, logs and cursors in
// shared/userlog, transaction ids, the index of rooms and sweeps in shared/rooms,
// deliveries in shared/timeline/pull.go, accounts, devices, sessions and secrets
// in shared/accounts, the signing key in shared/federation, reports in
// shared/moderation, walks through spaces in shared/timeline/hierarchy.go, what is
// published in shared/directory, receipts and presence in shared/timeline/receipts.go and
// presence.go, pushers in shared/push, the words of events in
// shared/timeline/search_rows.go. A row that must not live twice, or changes when a
// server is put back from a copy, is besides in shared/archive/rows.go, and one that says
// who may do what in shared/archive/restore.go. Partition keys begin with a prefix of their kind
// (R#, U#, TXN#, EV#, …), so that no two kinds collide.
var (
	// Rooms holds the order, bodies, state and chunks of rooms, and aliases.
	Rooms = &Table{Name: "rooms", Streamed: true}
	// Events maps event ids to rooms and positions, keeps outliers, and has the words
	// of events.
	Events = &Table{Name: "events"}
	// Users holds accounts, profiles, account data, filters, devices, and each
	// user's log and room cursors.
	Users = &Table{Name: "users"}
	// Tokens holds access, refresh, login and registration tokens and
	// user-interactive sessions, under their hashes.
	Tokens = &Table{Name: "tokens"}
	// E2EE holds device keys, one-time keys, to-device messages and backups.
	E2EE = &Table{Name: "e2ee"}
	// Federation holds destinations, queues, keys and inbound transactions.
	Federation = &Table{Name: "federation"}
	// Media holds metadata of media; the bytes are in the bucket.
	Media = &Table{Name: "media"}
	// Server holds secrets, signing keys, limits, schedules and reports.
	Server = &Table{Name: "server"}
)

// Tables lists all tables. The local store, the stack and the tests read it.
var Tables = []*Table{Rooms, Events, Users, Tokens, E2EE, Federation, Media, Server}
