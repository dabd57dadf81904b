package local_test

import (
	"testing"
	"time"

	"github.com/virga-im/virga/shared/blob"
	"github.com/virga-im/virga/shared/blob/blobtest"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/queue/queuetest"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/store/storetest"
	"github.com/virga-im/virga/shared/wake/waketest"
)

func TestStoreContract(t *testing.T) {
	t.Run("Disk", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.DB { return open(t, local.Options{Dir: t.TempDir()}).DB() })
	})
	t.Run("Memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.DB { return open(t, local.Options{}).DB() })
	})
	t.Run("Lag", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.DB { return open(t, local.Options{Lag: 50 * time.Millisecond}).DB() })
	})
}

func TestChangesContract(t *testing.T) {
	for name, opt := range map[string]local.Options{
		"Plain":   {RetryAfter: time.Millisecond},
		"Shuffle": {RetryAfter: time.Millisecond, Shuffle: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, opt)
			storetest.RunChanges(t, l.DB(), l.Follow)
		})
	}
}

func TestQueueContract(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.Harness {
		l := open(t, local.Options{RetryAfter: 20 * time.Millisecond})
		return queuetest.Harness{Sender: l.Queues(), Consume: l.Consume}
	})
}

func TestBlobContract(t *testing.T) {
	t.Run("Disk", func(t *testing.T) {
		blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, local.Options{Dir: t.TempDir()}).Blobs() })
	})
	t.Run("Memory", func(t *testing.T) {
		blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, local.Options{}).Blobs() })
	})
}

func TestWakeContract(t *testing.T) {
	waketest.Run(t, func(t *testing.T) waketest.Harness {
		return waketest.Harness{Service: open(t, local.Options{}).Wake()}
	})
}
