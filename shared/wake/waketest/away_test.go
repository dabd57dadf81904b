package waketest

import (
	"testing"

	"github.com/virga-im/virga/shared/local"
)

// The stand-in keeps the contract itself, or what is tested with it is not true.
func TestAwayKeepsTheContract(t *testing.T) {
	Run(t, func(t *testing.T) Harness {
		db, err := local.Open(local.NewMemory().Options())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		away := &Away{Service: db.Wake()}
		t.Cleanup(func() {
			if n := away.Waiting(); n != 0 {
				t.Errorf("%d are left waiting", n)
			}
		})
		return Harness{Service: away, Elsewhere: away.Wait}
	})
}
