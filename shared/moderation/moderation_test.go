package moderation_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/moderation"
	"github.com/virga-im/virga/shared/mxerr"
)

// What a stranger can make the server keep is bounded in size and in number.
func TestReportsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := local.Open(local.NewMemory().Options())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		s := &moderation.Service{Options: moderation.Options{DB: l.DB(), Clock: clock.System{}}}
		ctx := grant.With(t.Context(), "test", grant.Of(moderation.Reports, moderation.ReadsReports), nil)
		const mallory = "@mallory:localhost"
		if err := s.ReportRoom(ctx, mallory, "!a:x", strings.Repeat("x", 9<<10)); !mxerr.Is(err, "M_TOO_LARGE") {
			t.Errorf("a long reason: %v", err)
		}
		fill := func() (kept int) {
			t.Helper()
			for range 1000 {
				err := s.ReportUser(ctx, mallory, "@a:x", "")
				if mxerr.Is(err, "M_LIMIT_EXCEEDED") {
					if wait := mxerr.As(err).Fields["retry_after_ms"].(int64); wait <= 0 || wait > 24*3600*1000 {
						t.Errorf("wait for %d ms", wait)
					}
					return kept
				}
				if err != nil {
					t.Fatal(err)
				}
				kept++
			}
			return kept
		}
		if n := fill(); n != 100 {
			t.Errorf("%d reports in a day", n)
		}
		if err := s.ReportUser(ctx, "@alice:localhost", "@a:x", ""); err != nil {
			t.Errorf("of somebody else: %v", err)
		}
		// What is sent again is kept once.
		all, _, err := s.List(ctx, "", 1000)
		if err != nil || len(all) != 2 {
			t.Errorf("%d reports, %v", len(all), err)
		}
		time.Sleep(24 * time.Hour)
		if n := fill(); n != 100 {
			t.Errorf("%d reports on the next day", n)
		}
		time.Sleep(moderation.Retention)
		if all, _, err := s.List(ctx, "", 1000); err != nil || len(all) != 0 {
			t.Errorf("%d reports are left, %v", len(all), err)
		}
	})
}
