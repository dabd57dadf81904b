package local_test

import (
	"testing"
	"time"

	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/shared/store/storetest"
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
