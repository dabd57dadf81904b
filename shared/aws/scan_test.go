package aws_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/awstest"
	"github.com/virga-im/virga/shared/store"
)

// A scan gives each item once, over many pages and in any number of parts.
func TestScanGivesEveryItemOnce(t *testing.T) {
	at := awstest.Options(awstest.DynamoDB(t))
	db := aws.NewDB(at)
	const n = 60
	body := bytes.Repeat([]byte("x"), 100<<10) // 6 MB, ten items a page
	for i := range n {
		key := store.Key{Part: fmt.Sprint("P#", i%11), Sort: fmt.Sprint("S#", i)}
		if _, err := db.Write(t.Context(), store.Put(store.Events, key, store.Attrs{"b": body, "n": int64(i)})); err != nil {
			t.Fatal(err)
		}
	}
	for _, segments := range []int{0, 1, 3, 16} {
		scan := aws.NewScan(at)
		scan.Segments = segments
		seen := map[store.Key]int{}
		for it, err := range scan.Items(t.Context(), store.Events) {
			if err != nil {
				t.Fatal(err)
			}
			if seen[it.Key]++; !bytes.Equal(it.Bytes("b"), body) {
				t.Errorf("%s has %d bytes", it.Key, len(it.Bytes("b")))
			}
		}
		for key, times := range seen {
			if times != 1 {
				t.Errorf("in %d parts: %s came %d times", segments, key, times)
			}
		}
		if len(seen) != n {
			t.Errorf("in %d parts: %d items of %d", segments, len(seen), n)
		}
	}
	for _, err := range aws.NewScan(at).Items(t.Context(), store.Events) {
		if err != nil {
			t.Fatal(err)
		}
		break // who has seen enough may stop
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	told := false
	for _, err := range aws.NewScan(at).Items(ctx, store.Events) {
		told = told || err != nil
	}
	if !told {
		t.Error("a scan that was cut short looks like a whole one")
	}
}
