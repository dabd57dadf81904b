package aws

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
	"unicode/utf8"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/virga-im/virga/shared/store"
)

// db implements store.DB on DynamoDB.
type db struct {
	stack  string
	client func() (*dynamodb.Client, error)
	sleep  func(context.Context, time.Duration) error
}

// NewDB returns the store of the stack. It connects on first use.
func NewDB(o Options) store.DB {
	return &db{
		stack:  o.Stack,
		client: lazily(o, func(c sdk.Config) *dynamodb.Client { return dynamodb.NewFromConfig(c) }),
		sleep:  sleep,
	}
}

// TableName is the name of a stack's table in DynamoDB.
func TableName(stack string, t *store.Table) string { return stack + "_" + t.Name }

func (d *db) table(t *store.Table) *string {
	name := TableName(d.stack, t)
	return &name
}

// Get implements store.DB.
func (d *db) Get(ctx context.Context, r store.Ref, c store.Consistency) (store.Item, error) {
	client, err := d.client()
	if err != nil {
		return store.Item{}, err
	}
	key, err := encodeKey(r.Key)
	if err != nil {
		return store.Item{}, err
	}
	out, err := client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:              d.table(r.Table),
		Key:                    key,
		ConsistentRead:         (*bool)(&c),
		ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	})
	if err != nil {
		return store.Item{}, fmt.Errorf("get %s %s: %w", r.Table.Name, r.Key, mapped(err))
	}
	countReads(ctx, r.Table, out.ConsumedCapacity)
	it, err := decodeItem(out.Item)
	if err != nil {
		return store.Item{}, fmt.Errorf("get %s %s: %w", r.Table.Name, r.Key, err)
	}
	if !it.Exists() {
		return store.Item{}, store.ErrNotFound
	}
	return it, nil
}

func countReads(ctx context.Context, t *store.Table, c *types.ConsumedCapacity) {
	if c != nil {
		store.Count(ctx, t, sdk.ToFloat64(c.CapacityUnits), 0)
	}
}

// BatchGet implements store.DB. DynamoDB answers a part when it is throttled and
// when the answer would exceed 16 MB; only the former calls for a pause.
func (d *db) BatchGet(ctx context.Context, refs []store.Ref, c store.Consistency) ([]store.Item, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	if len(refs) > store.MaxBatchGet {
		return nil, fmt.Errorf("a batch of %d keys; at most %d are read at once", len(refs), store.MaxBatchGet)
	}
	client, err := d.client()
	if err != nil {
		return nil, err
	}
	tables := map[string]*store.Table{}
	ask := map[string]types.KeysAndAttributes{}
	for _, r := range refs {
		key, err := encodeKey(r.Key)
		if err != nil {
			return nil, err
		}
		name := *d.table(r.Table)
		tables[name] = r.Table
		part := ask[name]
		part.ConsistentRead = (*bool)(&c)
		part.Keys = append(part.Keys, key)
		ask[name] = part
	}
	var items []store.Item
	units := map[*store.Table]float64{}
	defer func() {
		for t, n := range units {
			store.Count(ctx, t, n, 0)
		}
	}()
	for idle := 0; len(ask) > 0; {
		out, err := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
			RequestItems:           ask,
			ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
		})
		if err != nil {
			return nil, fmt.Errorf("batch get: %w", mapped(err))
		}
		for _, c := range out.ConsumedCapacity {
			if t := tables[sdk.ToString(c.TableName)]; t != nil {
				units[t] += sdk.ToFloat64(c.CapacityUnits)
			}
		}
		progress := false
		for name, list := range out.Responses {
			for _, a := range list {
				it, err := decodeItem(a)
				if err != nil {
					return nil, fmt.Errorf("batch get %s: %w", name, err)
				}
				items, progress = append(items, it), true
			}
		}
		progress = progress || keys(out.UnprocessedKeys) < keys(ask)
		if ask = out.UnprocessedKeys; len(ask) == 0 {
			break
		}
		if progress {
			idle = 0
			continue
		}
		if idle++; idle > batchPauses {
			return nil, fmt.Errorf("batch get: %w: %d keys were left unprocessed", store.ErrThrottled, keys(ask))
		}
		if err := d.sleep(ctx, pause(idle)); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func keys(ask map[string]types.KeysAndAttributes) (n int) {
	for _, part := range ask {
		n += len(part.Keys)
	}
	return n
}

// batchPauses is how often a batch that makes no progress is tried again.
const batchPauses = 6

// pause is up to 25 ms doubled with each attempt: 1.6 s for the last one.
func pause(attempt int) time.Duration {
	return time.Duration(rand.Int64N(int64(25 * time.Millisecond << attempt)))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Query implements store.DB.
func (d *db) Query(ctx context.Context, q store.Query) (store.Page, error) {
	if q.Limit < 0 {
		return store.Page{}, fmt.Errorf("query %s %s: the limit is negative", q.Table.Name, q.Part)
	}
	in, err := queryInput(q)
	if err != nil {
		return store.Page{}, fmt.Errorf("query %s %s: %w", q.Table.Name, q.Part, err)
	}
	if in == nil {
		return store.Page{}, nil
	}
	client, err := d.client()
	if err != nil {
		return store.Page{}, err
	}
	in.TableName = d.table(q.Table)
	out, err := client.Query(ctx, in)
	if err != nil {
		return store.Page{}, fmt.Errorf("query %s %s: %w", q.Table.Name, q.Part, mapped(err))
	}
	countReads(ctx, q.Table, out.ConsumedCapacity)
	page := store.Page{Items: make([]store.Item, len(out.Items))}
	for i, a := range out.Items {
		if page.Items[i], err = decodeItem(a); err != nil {
			return store.Page{}, fmt.Errorf("query %s %s: %w", q.Table.Name, q.Part, err)
		}
	}
	if s, ok := out.LastEvaluatedKey[store.SortAttr].(*types.AttributeValueMemberS); ok {
		page.Next = s.Value
	}
	return page, nil
}

// queryInput returns the request, or nil if the range is empty by itself, which
// DynamoDB would call an error.
func queryInput(q store.Query) (*dynamodb.QueryInput, error) {
	for _, s := range []string{q.From, q.To, q.After} {
		if !utf8.ValidString(s) {
			return nil, fmt.Errorf("bound %q: not UTF-8", s)
		}
	}
	if q.Part == "" {
		return nil, errors.New("the partition key is empty")
	}
	if q.To != "" && q.From > q.To {
		return nil, nil
	}
	// A start outside of the range is an error too.
	after := q.After
	switch {
	case after == "":
	case q.Reverse && q.From != "" && after <= q.From, !q.Reverse && q.To != "" && after >= q.To:
		return nil, nil
	case q.Reverse && q.To != "" && after > q.To, !q.Reverse && after < q.From:
		after = ""
	}
	var e expression
	part, err := e.value(store.PartAttr, q.Part)
	if err != nil {
		return nil, err
	}
	text := e.name(store.PartAttr) + " = " + part
	if q.From != "" || q.To != "" {
		text += " AND " + e.name(store.SortAttr)
		from, _ := e.bound(q.From)
		to, _ := e.bound(q.To)
		switch {
		case q.To == "":
			text += " >= " + from
		case q.From == "":
			text += " <= " + to
		default:
			text += " BETWEEN " + from + " AND " + to
		}
	}
	in := &dynamodb.QueryInput{
		KeyConditionExpression:    &text,
		ExpressionAttributeNames:  e.names,
		ExpressionAttributeValues: e.values,
		ConsistentRead:            (*bool)(&q.Consistency),
		ScanIndexForward:          sdk.Bool(!q.Reverse),
		ReturnConsumedCapacity:    types.ReturnConsumedCapacityTotal,
	}
	if q.Limit > 0 {
		in.Limit = sdk.Int32(int32(min(q.Limit, math.MaxInt32)))
	}
	if after != "" {
		if in.ExclusiveStartKey, err = encodeKey(store.Key{Part: q.Part, Sort: after}); err != nil {
			return nil, err
		}
	}
	return in, nil
}

func (e *expression) bound(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	return e.value(store.SortAttr, s)
}
