package services

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/virga-im/virga/tests/rehearsal/iam"
)

// target is what the names of DynamoDB's operations begin with.
const target = "DynamoDB_20120810."

// dynamoDB is DynamoDB's API in front of dynoxide.
type dynamoDB struct {
	s       *Services
	backend string // its URL
	client  *http.Client
	tables  map[string]tableKeys // by name
}

// tableKeys are the attributes that make the key of an item.
type tableKeys struct {
	attributes []string
	stream     string // the ARN of the stream, if the table has one
}

// A Change is an item of a table with a stream that may have been written: a
// repeated transaction is reported again.
type Change struct {
	Table  string // the name
	Stream string // the ARN of the stream
	// Keys are the attributes of the key as in a record of the stream:
	// {"p": {"S": "…"}, "s": {"S": "…"}}.
	Keys map[string]json.RawMessage
	// Removed says that the item was deleted, and otherwise it was put or updated.
	Removed bool
}

// newDynamoDB creates the tables of the template.
func newDynamoDB(s *Services, backend string) (*dynamoDB, error) {
	d := &dynamoDB{s: s, backend: backend, tables: map[string]tableKeys{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	for _, id := range s.template.IDs("AWS::DynamoDB::Table") {
		properties, err := s.template.Properties(id)
		if err != nil {
			return nil, err
		}
		if err := d.create(id, properties); err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
	}
	return d, nil
}

// create makes a table of its properties in a template, which are the parameters
// of CreateTable but for some that are calls of their own. The stream is kept here:
// that of dynoxide would slow it down.
func (d *dynamoDB) create(id string, properties map[string]any) error {
	name := d.s.template.Physical(id)
	in := map[string]any{"TableName": name}
	var expires any
	keys := tableKeys{}
	for property, value := range properties {
		switch property {
		case "TableName", "PointInTimeRecoverySpecification", "Tags", "DeletionProtectionEnabled":
		case "AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes", "LocalSecondaryIndexes":
			in[property] = value
		case "TimeToLiveSpecification":
			expires = value
		case "StreamSpecification":
			arn, err := d.s.template.Attribute(id, "StreamArn")
			if err != nil {
				return err
			}
			keys.stream = arn.(string)
		default:
			return fmt.Errorf("the property %s is not known here", property)
		}
	}
	schema, _ := properties["KeySchema"].([]any)
	for _, element := range schema {
		element, _ := element.(map[string]any)
		attribute, _ := element["AttributeName"].(string)
		keys.attributes = append(keys.attributes, attribute)
	}
	if err := d.ask("CreateTable", in); err != nil {
		return err
	}
	d.tables[name] = keys
	if expires == nil {
		return nil
	}
	return d.ask("UpdateTimeToLive", map[string]any{"TableName": name, "TimeToLiveSpecification": expires})
}

// ask sends a request of ours to the backend.
func (d *dynamoDB) ask(operation string, in any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	header := http.Header{}
	header.Set("X-Amz-Target", target+operation)
	header.Set("Content-Type", "application/x-amz-json-1.0")
	status, _, answer, err := d.forward(context.Background(), header, body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: %s", operation, answer)
	}
	return err
}

func (d *dynamoDB) forward(ctx context.Context, header http.Header, body []byte) (status int, got http.Header, answer []byte, err error) {
	// What a client has sent is done, whether it waits or not.
	r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, d.backend, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	r.Header = header
	// The backend wants a signature and does not verify it.
	r.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=own/20261126/"+d.s.region()+"/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
	resp, err := d.client.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, answer, err
}

// part is what is read of a request or of a part of one.
type part struct {
	TableName, IndexName string
	Item, Key            map[string]json.RawMessage
}

// parts are what transactions are made of, with the action that each needs.
var parts = map[string]string{
	"Put": "dynamodb:PutItem", "Update": "dynamodb:UpdateItem", "Delete": "dynamodb:DeleteItem",
	"ConditionCheck": "dynamodb:ConditionCheckItem", "Get": "dynamodb:GetItem",
}

// call implements api. TransactWriteItems and TransactGetItems have no permission
// of their own: each part needs that of its kind.
//
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
func (d *dynamoDB) call(r *http.Request, body []byte) (operation string, needs []iam.Request) {
	operation = strings.TrimPrefix(r.Header.Get("X-Amz-Target"), target)
	need := func(action, table, index string) {
		arn := table
		if !strings.HasPrefix(table, "arn:") {
			arn = d.s.arn("dynamodb", "table/"+table)
		}
		if index != "" {
			arn += "/index/" + index
		}
		one := iam.Request{Action: action, Resource: arn}
		if !slices.ContainsFunc(needs, func(n iam.Request) bool { return n.Action == action && n.Resource == arn }) {
			needs = append(needs, one)
		}
	}
	unknown := []iam.Request{{Action: "dynamodb:" + operation, Resource: "a request that is not known here"}}
	switch operation {
	case "GetItem", "Query", "Scan", "PutItem", "UpdateItem", "DeleteItem", "DescribeTable", "DescribeTimeToLive":
		var in part
		if json.Unmarshal(body, &in) != nil || in.TableName == "" {
			return operation, unknown
		}
		need("dynamodb:"+operation, in.TableName, in.IndexName)
	case "BatchGetItem", "BatchWriteItem":
		var in struct{ RequestItems map[string]json.RawMessage }
		if json.Unmarshal(body, &in) != nil || len(in.RequestItems) == 0 {
			return operation, unknown
		}
		for _, table := range slices.Sorted(maps.Keys(in.RequestItems)) {
			need("dynamodb:"+operation, table, "")
		}
	case "TransactWriteItems", "TransactGetItems":
		var in struct{ TransactItems []map[string]part }
		if json.Unmarshal(body, &in) != nil || len(in.TransactItems) == 0 {
			return operation, unknown
		}
		for _, item := range in.TransactItems {
			for kind, p := range item {
				if parts[kind] == "" {
					return operation, unknown
				}
				need(parts[kind], p.TableName, "")
			}
		}
	default:
		return operation, unknown
	}
	return operation, needs
}

// serve implements api.
func (d *dynamoDB) serve(w http.ResponseWriter, r *http.Request, body []byte, from principal) {
	header := http.Header{}
	for _, name := range []string{"X-Amz-Target", "Content-Type"} {
		if v := r.Header.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	status, got, answer, err := d.forward(r.Context(), header, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if status == http.StatusOK && d.s.onWrite != nil && !from.unseen {
		for _, c := range d.changes(strings.TrimPrefix(r.Header.Get("X-Amz-Target"), target), body) {
			d.s.onWrite(c)
		}
	}
	for name, values := range got {
		if name != "Content-Length" && name != "Date" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer) // the client may be gone
}

// changes reads from a request which items it writes, of tables with a stream.
func (d *dynamoDB) changes(operation string, body []byte) (all []Change) {
	add := func(p part, removed bool) {
		table := p.TableName[strings.LastIndexByte(p.TableName, '/')+1:]
		keys := d.tables[table]
		if keys.stream == "" {
			return
		}
		c := Change{Table: table, Stream: keys.stream, Keys: map[string]json.RawMessage{}, Removed: removed}
		for _, attribute := range keys.attributes {
			c.Keys[attribute] = p.Key[attribute]
			if p.Key == nil {
				c.Keys[attribute] = p.Item[attribute]
			}
		}
		all = append(all, c)
	}
	// The request was answered, so it can be read.
	switch operation {
	case "PutItem", "UpdateItem", "DeleteItem":
		var in part
		_ = json.Unmarshal(body, &in)
		add(in, operation == "DeleteItem")
	case "TransactWriteItems":
		var in struct{ TransactItems []map[string]part }
		_ = json.Unmarshal(body, &in)
		for _, item := range in.TransactItems {
			for kind, p := range item {
				if kind != "ConditionCheck" {
					add(p, kind == "Delete")
				}
			}
		}
	case "BatchWriteItem":
		var in struct {
			RequestItems map[string][]struct{ PutRequest, DeleteRequest *part }
		}
		_ = json.Unmarshal(body, &in)
		for table, requests := range in.RequestItems {
			for _, r := range requests {
				p := r.PutRequest
				if p == nil {
					p = r.DeleteRequest
				}
				if p != nil {
					p.TableName = table
					add(*p, r.PutRequest == nil)
				}
			}
		}
	}
	return all
}

// fail implements api.
func (d *dynamoDB) fail(w http.ResponseWriter, _ *http.Request, why failure, message string) {
	kind := map[failure]string{
		denied:       "com.amazon.coral.service#AccessDeniedException",
		unknownKey:   "com.amazon.coral.service#UnrecognizedClientException",
		badSignature: "com.amazon.coral.service#InvalidSignatureException",
		throttled:    "com.amazonaws.dynamodb.v20120810#ThrottlingException",
	}[why]
	answer, err := json.Marshal(map[string]string{"__type": kind, "Message": message})
	if err != nil {
		panic(err) // two texts
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE(answer))) // the SDK warns without it
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write(answer) // the client may be gone
}
