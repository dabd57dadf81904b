package moving

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/virga-im/virga/infra/local/process"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/clock"
	"github.com/virga-im/virga/shared/grant"
	"github.com/virga-im/virga/shared/wake"
)

// Who waited at which queue is of one stack. In another there is no such queue, and a
// client that is sent there comes back at once, again and again.
func TestWhoWaitedAtAQueueIsLeftBehind(t *testing.T) {
	m := start(t, false)
	at := awstest.SQS(t).Options()
	at.Waits = at.Queues["work"][:len(at.Queues["work"])-len("work")] + "wait_"
	may := grant.With(t.Context(), t.Name(), grant.Of(grant.Holds(), grant.ReadTable("users"), grant.WriteTable("users")), nil)
	arm := func() {
		t.Helper()
		hold := aws.HoldInQueue(at, m.p.Store.DB(), clock.System{}, slog.New(slog.DiscardHandler))
		ticket, err := hold.Arm(may, wake.Wait{Keys: []string{"user @a:localhost"}, Until: time.Now().Add(time.Minute), Connection: "connection"})
		if err != nil {
			t.Fatal(err)
		}
		ticket.Release()
	}
	users := func() int64 {
		t.Helper()
		m.close()
		defer m.open()
		sum, err := process.Export(t.Context(), m.cfg, io.Discard, "")
		if err != nil {
			t.Fatal(err)
		}
		return sum.Rows["users"]
	}
	before := users()
	arm()
	if n := users() - before; n != 0 {
		t.Errorf("%d rows about who waits are exported", n)
	}
}
