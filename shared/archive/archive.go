// Package archive moves a whole server: Export writes all that its stores hold to a
// file, and Import fills empty stores from one, on whatever they are. It is the way
// from AWS to a local server and back, and it is the same file in both worlds.
//
// # The file
//
// It is JSON Lines: UTF-8, an object a line, in this order.
//
//	{"export":{"version":1,"server_name":"example.org","id":"2x…","at":"2026-11-25T12:00:00Z","release":"v0.3.0"}}
//	{"table":"users","part":"U#@alice:example.org","sort":"ACCOUNT","attrs":{"pw":{"S":"$argon2id$…"},"at":{"N":"1764072000000"}}}
//	{"blob":{"key":"…","content_type":"image/png","size":12345,"sha256":"…"}}
//	{"end":{"rows":{"rooms":4711,…},"blobs":1,"rooms":12,"roots":"…","sha256":"…"}}
//
// A row is an item of a table of shared/store, each in the words of the package that
// writes it. Attributes have DynamoDB's types: S is a string, N an integer in
// decimal digits (as a string, since JSON's readers lose digits of large ones), B
// bytes in base64, BOOL true or false; "expires" is the item's time to live in
// seconds. Rows are in no order, with one exception: the HEADs of rooms come last,
// because a room is there when its HEAD is, and before that nobody touches it.
//
// The bytes of a blob are in a folder beside the file, under their SHA-256.
//
// The end counts the rows of each table, and has the SHA-256 of all bytes before its
// line. It shows that a file is whole. It does not show who made it: whoever can
// change the file can change the server that is made of it.
//
// "roots" sums up the id and the state root of each room, in any order. Two servers
// that print the same have the same state in every room.
//
// # What is in it
//
// Everything, so that nobody notices the move: accounts with the hashes of their
// passwords, sessions (by the hashes of their tokens: people stay logged in),
// transaction ids, the signing key, without which the server would be another to
// everybody else. So the file is as secret as the server. It is not encrypted here;
// its writer gives it to nobody else (mode 0600), and it is for its owner to encrypt.
//
// Left behind is what must not, or need not, live twice: see rows.go.
//
//   - One-time keys. A key that was handed out by one of two servers with the same
//     rows would be handed out again by the other. Devices upload new ones.
//   - Messages of queues. A queue of SQS cannot be read without taking from it, so
//     there is no counting on them. All that they say is that something is to be
//     done, and what is to be done follows from rows: Import sends again what may
//     be pending. Whatever hangs on the change stream is driven by the writes of Import.
//   - Rows whose time to live is over.
//
// # One moment
//
// What is exported must be of one moment. A local server is read from a snapshot of
// Pebble, so that one which runs is exported as it was at that moment, each
// transaction whole or not there; the command wants one that is stopped, because
// what its people write later would be lost without a word. DynamoDB has no snapshot
// that can be scanned, and a scan of tables that are written to mixes moments. What
// is scanned there are copies restored to one second, or the tables of a stack that
// stands still. Export refuses if a room has moved while it read, which shows the
// mistake of scanning a server that is in use, but not every write. Import makes sure
// of each room: the whole of its current state, by the hashes of its trie, and its
// latest event must be there, or the room is not accepted, and the import fails.
//
// # How it is put back
//
// Into empty stores only, of the same server name, that nobody uses meanwhile. Rows
// are as they were, but that the logs of users begin a new restore generation
// (userlog.Restored): the time of the import, so that each import has its own,
// however often the same file is put back. A token of /sync from before is answered
// by a rebase: the client is told where each room stands, and goes on from there. Numbers in logs and
// positions in rooms go on after the last ones of the file. If the former server went
// on after the export, what it did since is gone, and the positions it gave then are
// given again; clients that hold such a position (prev_batch) have dropped it with the
// timeline that the rebase replaces.
//
// The server table has a mark of the file until all is there. Until then, the same file can
// be imported again, which writes the same rows; another one is refused. A local
// import lies besides in a folder that no server opens until it is whole, and leaves
// nothing if it fails (see infra/local/process). A file that can be read twice is
// checked to its end before the first row is written.
//
// A server that is put back to an earlier time in its own tables is another matter, see
// Restore.
//
// Not chosen: DynamoDB's own export to S3, which is of one moment, but only in one
// world, has a file for each table and shard, and cannot be put into anything but
// DynamoDB; and a format of accounts and rooms instead of rows, which would be
// readable by other homeservers, and would lose whatever it has no word for.
package archive

import (
	"context"
	"errors"
	"iter"
	"runtime/debug"
	"time"

	"github.com/virga-im/virga/shared/store"
)

// Version is that of the format that Export writes and Import reads.
const Version = 1

// Source reads whole tables. It is not part of store.DB: no route can ask for one,
// and no grant allows it. The local store's Snapshot and the Scan of shared/aws are
// Sources.
type Source interface {
	// Items yields every item of a table, in any order, until the first error.
	Items(ctx context.Context, t *store.Table) iter.Seq2[store.Item, error]
}

// Head is the first line of a file.
type Head struct {
	Version    int       `json:"version"`
	ServerName string    `json:"server_name"`
	ID         string    `json:"id"`
	At         time.Time `json:"at"`
	Release    string    `json:"release,omitempty"`
}

// Summary is what a file holds, as its last line has it.
type Summary struct {
	// Rows are how many rows there are of each table.
	Rows  map[string]int64 `json:"rows"`
	Blobs int64            `json:"blobs"`
	// Rooms are how many rooms there are, and Roots sums up their states.
	Rooms int64  `json:"rooms"`
	Roots string `json:"roots"`
	// SHA256 is of all bytes before the last line, in hexadecimal digits.
	SHA256 string `json:"sha256"`
}

// Total is how many rows there are.
func (s Summary) Total() (n int64) {
	for _, rows := range s.Rows {
		n += rows
	}
	return n
}

// Release names the running program in a Head, as far as it knows itself.
func Release() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return info.Main.Version
}

// ErrDamaged is in the chain of errors that say that a file cannot be imported,
// however often one tries.
var ErrDamaged = errors.New("the file is damaged")
