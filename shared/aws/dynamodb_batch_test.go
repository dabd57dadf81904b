package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/virga-im/virga/shared/store"
)

// stingy answers BatchGetItem with at most the next number of items, and leaves
// the rest unprocessed.
func stingy(t *testing.T, numbers ...int) (d *db, slept *int) {
	t.Helper()
	type ask map[string]struct {
		Keys []map[string]map[string]string
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ RequestItems ask }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		n := 0
		if len(numbers) > 0 {
			n, numbers = numbers[0], numbers[1:]
		}
		responses := map[string][]map[string]map[string]string{}
		left := ask{}
		for table, part := range in.RequestItems {
			rest := left[table]
			for _, k := range part.Keys {
				if n--; n >= 0 {
					responses[table] = append(responses[table], k)
				} else {
					rest.Keys = append(rest.Keys, k)
				}
			}
			if len(rest.Keys) > 0 {
				left[table] = rest
			}
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		if err := json.NewEncoder(w).Encode(map[string]any{
			"Responses": responses, "UnprocessedKeys": left,
			"ConsumedCapacity": []map[string]any{{"TableName": "test_rooms", "CapacityUnits": 1.5}},
		}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(srv.Close)
	d = NewDB(Options{Stack: "test", Config: func() (sdk.Config, error) {
		return sdk.Config{Region: "us-east-1", BaseEndpoint: &srv.URL, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}, nil
	}}).(*db)
	slept = new(int)
	d.sleep = func(context.Context, time.Duration) error { *slept++; return nil }
	return d, slept
}

func refs(n int) (all []store.Ref) {
	for i := range n {
		all = append(all, store.Ref{Table: store.Rooms, Key: store.Key{Part: "p", Sort: fmt.Sprint(i)}})
	}
	return all
}

func TestBatchGetAsksForWhatWasLeft(t *testing.T) {
	d, slept := stingy(t, 4, 0, 0, 5, 100)
	var m store.Meter
	items, err := d.BatchGet(store.WithMeter(t.Context(), &m), refs(10), store.Eventual)
	if err != nil || len(items) != 10 {
		t.Errorf("%d items, %v", len(items), err)
	}
	if *slept != 2 {
		t.Errorf("slept %d times, want once for each answer without an item", *slept)
	}
	if total := m.Total(); total.Reads != 5*1.5 || total.Calls != 1 {
		t.Errorf("consumed %s", total)
	}
}

func TestBatchGetGivesUp(t *testing.T) {
	d, slept := stingy(t, 3)
	if _, err := d.BatchGet(t.Context(), refs(10), store.Eventual); !errors.Is(err, store.ErrThrottled) {
		t.Errorf("got %v", err)
	}
	if *slept != batchPauses {
		t.Errorf("slept %d times", *slept)
	}
	for i := range batchPauses {
		if p := pause(i + 1); p < 0 || p >= 2*time.Second {
			t.Errorf("pause %d is %s", i+1, p)
		}
	}
}
