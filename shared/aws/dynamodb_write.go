package aws

import (
	"context"
	"errors"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/virga-im/virga/shared/store"
)

// Write implements store.DB.
//
// The SDK repeats a write whose answer was lost. If the repetition then fails,
// it may have met what the first attempt wrote; so that a *ConditionFailed stays
// the truth, such a write ends with an error that leaves the outcome open, as the
// contract has it. A write that adds without a condition is not repeated.
func (d *db) Write(ctx context.Context, w store.Write) (store.Item, error) {
	client, err := d.client()
	if err != nil {
		return store.Item{}, err
	}
	p, err := d.prepare(w)
	if err != nil {
		return store.Item{}, fmt.Errorf("write %s %s: %w", w.Table.Name, w.Key, err)
	}
	var consumed *types.ConsumedCapacity
	var after attributes
	r := &repeats{harmless: len(w.AddAttrs) == 0 || len(w.Cond) > 0}
	switch w.Op {
	case store.OpPut:
		var out *dynamodb.PutItemOutput
		out, err = client.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: p.table, Item: p.item, ConditionExpression: p.condition,
			ExpressionAttributeNames: p.names, ExpressionAttributeValues: p.values,
			ReturnConsumedCapacity:              types.ReturnConsumedCapacityTotal,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}, r.use)
		if err == nil {
			consumed = out.ConsumedCapacity
		}
	case store.OpUpdate:
		var out *dynamodb.UpdateItemOutput
		out, err = client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: p.table, Key: p.key, UpdateExpression: p.update, ConditionExpression: p.condition,
			ExpressionAttributeNames: p.names, ExpressionAttributeValues: p.values,
			ReturnConsumedCapacity:              types.ReturnConsumedCapacityTotal,
			ReturnValues:                        types.ReturnValueAllNew,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}, r.use)
		if err == nil {
			consumed, after = out.ConsumedCapacity, out.Attributes
		}
	case store.OpDelete:
		var out *dynamodb.DeleteItemOutput
		out, err = client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: p.table, Key: p.key, ConditionExpression: p.condition,
			ExpressionAttributeNames: p.names, ExpressionAttributeValues: p.values,
			ReturnConsumedCapacity:              types.ReturnConsumedCapacityTotal,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}, r.use)
		if err == nil {
			consumed = out.ConsumedCapacity
		}
	default:
		return store.Item{}, errors.New("a check is part of a transaction")
	}
	if err != nil {
		err = failedWrite(err, r)
		if f := store.Failed(err); f != nil {
			store.Count(ctx, w.Table, 0, failedUnits(w, f.Failed[0]))
		}
		return store.Item{}, fmt.Errorf("write %s %s: %w", w.Table.Name, w.Key, err)
	}
	if consumed != nil {
		store.Count(ctx, w.Table, 0, sdk.ToFloat64(consumed.CapacityUnits))
	}
	switch w.Op {
	case store.OpPut:
		return written(w), nil
	case store.OpDelete:
		return store.Item{}, nil
	}
	it, err := decodeItem(after)
	if err == nil && !it.Exists() {
		err = errors.New("the answer has no item")
	}
	if err != nil {
		return store.Item{}, fmt.Errorf("write %s %s: %w", w.Table.Name, w.Key, err)
	}
	return it, nil
}

// Transact implements store.DB. All attempts of a call carry the same request
// token, by which DynamoDB recognises a repetition for ten minutes and answers
// it as it answered the first; the SDK mints it.
func (d *db) Transact(ctx context.Context, ws ...store.Write) error {
	if len(ws) == 0 {
		return nil
	}
	if len(ws) > store.MaxTransact {
		return fmt.Errorf("a transaction of %d writes; at most %d are allowed", len(ws), store.MaxTransact)
	}
	client, err := d.client()
	if err != nil {
		return err
	}
	items := make([]types.TransactWriteItem, len(ws))
	for i, w := range ws {
		p, err := d.prepare(w)
		if err != nil {
			return fmt.Errorf("transact %s %s: %w", w.Table.Name, w.Key, err)
		}
		items[i] = p.transactItem(w.Op)
	}
	r := &repeats{harmless: true}
	out, err := client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
		TransactItems:          items,
		ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	}, r.use)
	if err != nil {
		err = failedTransaction(err, r)
		if f := store.Failed(err); f != nil {
			countFailed(ctx, ws, f)
		}
		return fmt.Errorf("transact %d writes: %w", len(ws), err)
	}
	for _, c := range out.ConsumedCapacity {
		for _, w := range ws {
			if TableName(d.stack, w.Table) == sdk.ToString(c.TableName) {
				store.Count(ctx, w.Table, 0, sdk.ToFloat64(c.CapacityUnits))
				break
			}
		}
	}
	return nil
}

// prepared is a write in the SDK's parts.
type prepared struct {
	table     *string
	key       attributes
	item      attributes // of a put
	update    *string
	condition *string
	names     map[string]string
	values    attributes
}

func (d *db) prepare(w store.Write) (p prepared, err error) {
	if err := checkParts(w); err != nil {
		return p, err
	}
	p.table = d.table(w.Table)
	if p.key, err = encodeKey(w.Key); err != nil {
		return p, err
	}
	var e expression
	switch w.Op {
	case store.OpPut:
		p.item, err = encodeItem(w)
	case store.OpUpdate:
		p.update, err = e.update(w)
	}
	if err != nil {
		return p, err
	}
	if p.condition, err = e.condition(w.Cond); err != nil {
		return p, err
	}
	if w.Op == store.OpCheck && p.condition == nil {
		// A check must have a condition; this one always holds.
		p.condition = sdk.String("attribute_exists(" + e.name(store.PartAttr) + ") OR attribute_not_exists(" + e.name(store.PartAttr) + ")")
	}
	p.names, p.values = e.names, e.values
	return p, nil
}

// checkParts refuses what would be left out silently: parts of a write that do
// not belong to its kind.
func checkParts(w store.Write) error {
	switch {
	case w.Op > store.OpCheck:
		return errors.New("no such kind of write")
	case w.Op != store.OpPut && w.Attrs != nil:
		return errors.New("only a put has Attrs")
	case w.Op != store.OpUpdate && (w.SetAttrs != nil || w.AddAttrs != nil || w.RemoveAttrs != nil):
		return errors.New("only an update sets, adds or removes")
	case (w.Op == store.OpDelete || w.Op == store.OpCheck) && !w.Expires.IsZero():
		return errors.New("only a put or update has a time to live")
	}
	return nil
}

func (p prepared) transactItem(op store.Op) types.TransactWriteItem {
	const old = types.ReturnValuesOnConditionCheckFailureAllOld
	switch op {
	case store.OpPut:
		return types.TransactWriteItem{Put: &types.Put{
			TableName: p.table, Item: p.item, ConditionExpression: p.condition,
			ExpressionAttributeNames: p.names, ExpressionAttributeValues: p.values,
			ReturnValuesOnConditionCheckFailure: old,
		}}
	case store.OpUpdate:
		return types.TransactWriteItem{Update: &types.Update{
			TableName: p.table, Key: p.key, UpdateExpression: p.update, ConditionExpression: p.condition,
			ExpressionAttributeNames: p.names, ExpressionAttributeValues: p.values,
			ReturnValuesOnConditionCheckFailure: old,
		}}
	case store.OpDelete:
		return types.TransactWriteItem{Delete: &types.Delete{
			TableName: p.table, Key: p.key, ConditionExpression: p.condition,
			ExpressionAttributeNames: p.names, ExpressionAttributeValues: p.values,
			ReturnValuesOnConditionCheckFailure: old,
		}}
	}
	return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
		TableName: p.table, Key: p.key, ConditionExpression: p.condition,
		ExpressionAttributeNames: p.names, ExpressionAttributeValues: p.values,
		ReturnValuesOnConditionCheckFailure: old,
	}}
}

// failedUnits is what a failed condition cost. DynamoDB bills it and does not say
// how much, so this is its documented rule: by the item that was there, or else
// by the one that was to be.
func failedUnits(w store.Write, was store.Item) float64 {
	size := store.Size(was)
	if !was.Exists() {
		size = store.Size(written(w))
	}
	return float64(max(1, (size+1023)/1024))
}

// countFailed counts a canceled transaction: every item of it is billed, twice.
func countFailed(ctx context.Context, ws []store.Write, f *store.ConditionFailed) {
	units := map[*store.Table]float64{}
	for i, w := range ws {
		units[w.Table] += 2 * failedUnits(w, f.Failed[i])
	}
	for t, n := range units {
		store.Count(ctx, t, 0, n)
	}
}
