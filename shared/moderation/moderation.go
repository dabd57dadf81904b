// Package moderation keeps what users report to the administrators of their
// server.
//
// Rows of the server table:
//
//   - REPORTS / day#hash: a Report, ≤ 10 KB, kept for Retention. The hash is of
//     who reports what, so that the same report of a day is one, however often it
//     is sent. If it is lost, nobody reads of it.
//   - REPORTED#user / day {n}: how often the user reported on that day (UTC), for
//     two days. Losing it lets the user report as often again.
package moderation

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/mxerr"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/timeline"
	"github.com/virga-im/virga/shared/userlog"
)

// Options are the parts that a Service is made of; all but NoLimits are required.
type Options struct {
	DB       store.DB
	Clock    clock.Clock
	Timeline *timeline.Service
	Log      *userlog.Service
	// NoLimits turns the limit of reports a day off.
	NoLimits bool
}

// Service is the moderation domain. It is safe for concurrent use.
type Service struct{ Options }

var (
	// Reports is for ReportRoom and ReportUser, and ReportsEvents for ReportEvent.
	Reports       = grant.WriteTable("server")
	ReportsEvents = grant.Of(Reports, timeline.Shows)
	// ReadsReports is for List.
	ReadsReports = grant.ReadTable("server")
)

// Retention is how long reports are kept.
const Retention = 180 * 24 * time.Hour

// The limits of what users can make the server keep: the bytes of a reason, and
// the reports of a user in a day.
const (
	maxReason    = 8 << 10
	maxReportsOf = 100
)

// Report is what a user reported. RoomID, EventID and About say what it is about:
// an event of a room by its sender, a room, or a user.
type Report struct {
	ID       string `db:"-" json:"id"`
	At       int64  `db:"at" json:"received_ts"` // milliseconds
	Reporter string `db:"u" json:"user_id"`
	RoomID   string `db:"r,omitempty" json:"room_id,omitempty"`
	EventID  string `db:"e,omitempty" json:"event_id,omitempty"`
	About    string `db:"a,omitempty" json:"reported_user_id,omitempty"`
	Reason   string `db:"w,omitempty" json:"reason,omitempty"`
}

const reportsPart = "REPORTS"

const day = 24 * time.Hour

// ReportEvent keeps a report of an event. It is M_NOT_FOUND alike if the user is
// not joined to the room, and if there is no such event there or the user may not
// see it.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreporteventid
func (s *Service) ReportEvent(ctx context.Context, v timeline.Viewer, room, eventID, reason string) error {
	notFound := mxerr.NotFound("There is no such event, or you are not joined to its room.")
	if err := checkReason(reason); err != nil {
		return err
	}
	c, err := s.Log.Cursor(ctx, v.User, room)
	if err != nil {
		return err
	}
	if c.Membership != "join" {
		return notFound
	}
	body, err := s.Timeline.OneEvent(ctx, v, room, eventID)
	if mxerr.Is(err, "M_NOT_FOUND") {
		return notFound
	}
	if err != nil {
		return err
	}
	var event struct {
		Sender string `json:"sender"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return fmt.Errorf("read event %s: %w", eventID, err)
	}
	return s.keep(ctx, Report{Reporter: v.User, RoomID: room, EventID: eventID, About: event.Sender, Reason: reason})
}

// ReportRoom keeps a report of a room. Whether the room is known here is not told;
// users see rooms of other servers, too.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreport
func (s *Service) ReportRoom(ctx context.Context, user, room, reason string) error {
	if !id.ValidRoom(room) {
		return mxerr.InvalidParam("%q is not a room id.", room)
	}
	return s.keep(ctx, Report{Reporter: user, RoomID: room, Reason: reason})
}

// ReportUser keeps a report of a user. Whether there is such a user is not told.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3usersuseridreport
func (s *Service) ReportUser(ctx context.Context, user, about, reason string) error {
	if !id.ValidUser(about) {
		return mxerr.InvalidParam("%q is not a user id.", about)
	}
	return s.keep(ctx, Report{Reporter: user, About: about, Reason: reason})
}

func checkReason(reason string) error {
	if len(reason) > maxReason {
		return mxerr.TooLarge("A reason has at most %d bytes.", maxReason)
	}
	return nil
}

func (s *Service) keep(ctx context.Context, r Report) error {
	if err := checkReason(r.Reason); err != nil {
		return err
	}
	now := s.Clock.Now()
	today := now.UTC().Format(time.DateOnly)
	if err := s.count(ctx, r.Reporter, today, now); err != nil {
		return err
	}
	r.At = clock.Millis(now)
	hash := sha256.Sum256([]byte(strings.Join([]string{r.Reporter, r.RoomID, r.EventID, r.About}, "\x00")))
	key := store.Key{Part: reportsPart, Sort: today + "#" + base64.RawURLEncoding.EncodeToString(hash[:16])}
	_, err := s.DB.Write(ctx, store.Put(store.Server, key, store.Encode(r)).Until(now.Add(Retention)))
	if err != nil {
		return fmt.Errorf("keep report: %w", err)
	}
	return nil
}

// count counts a report before it is kept, so that many at once are not more than
// many in a row.
func (s *Service) count(ctx context.Context, user, today string, now time.Time) error {
	if s.NoLimits {
		return nil
	}
	_, err := s.DB.Write(ctx, store.Update(store.Server, store.Key{Part: "REPORTED#" + user, Sort: today}).
		Add("n", 1).Until(now.Add(2*day)).
		If(store.AnyOf(store.Absent("n"), store.Less("n", int64(maxReportsOf)))))
	if store.Failed(err) != nil {
		return mxerr.LimitExceeded(now.Truncate(day).Add(day).Sub(now))
	}
	if err != nil {
		return fmt.Errorf("count reports of %s: %w", user, err)
	}
	return nil
}

// List returns reports, the latest days first: at most limit of them, after the
// one with the id from unless that is empty. next is the from of the following
// page, empty at the end.
func (s *Service) List(ctx context.Context, from string, limit int) (reports []Report, next string, err error) {
	page, err := s.DB.Query(ctx, store.Query{
		Table: store.Server, Part: reportsPart, After: from, Reverse: true, Limit: limit, Consistency: store.Consistent,
	})
	if err != nil {
		return nil, "", fmt.Errorf("list reports: %w", err)
	}
	reports = []Report{}
	now := s.Clock.Now()
	for _, it := range page.Items {
		if !now.Before(it.Expires) {
			continue
		}
		r := Report{ID: it.Key.Sort}
		if err := store.Decode(it, &r); err != nil {
			return nil, "", err
		}
		reports = append(reports, r)
	}
	return reports, page.Next, nil
}
