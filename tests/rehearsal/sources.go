package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virga-im/virga/shared/store"
	"github.com/virga-im/virga/tests/rehearsal/template"
)

// sources are what starts workers.
type sources struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	streams map[string]*stream // by ARN
	rules   map[string]*rule   // by function, without the name of the stack
	queues  []string           // ARNs
}

func (s *sources) stop() {
	if s.cancel != nil {
		s.cancel()
		s.running.Wait()
	}
}

// mapping is an AWS::Lambda::EventSourceMapping.
type mapping struct {
	FunctionName, EventSourceArn, StartingPosition string
	BatchSize                                      int
	BisectBatchOnFunctionError                     bool
	MaximumRetryAttempts                           *int
	FunctionResponseTypes                          []string
	DestinationConfig                              struct{ OnFailure struct{ Destination string } }
	ScalingConfig                                  struct{ MaximumConcurrency int }
}

// shards is how many readers a stream has. Items with the same partition key are
// in one of them.
const shards = 2

// startSources starts what the template has of event source mappings and rules.
func (s *Stack) startSources() error {
	ctx, cancel := context.WithCancel(context.Background())
	s.sources = sources{cancel: cancel, streams: map[string]*stream{}, rules: map[string]*rule{}}
	for _, id := range s.Template.IDs("AWS::Lambda::EventSourceMapping") {
		var m mapping
		if err := s.Template.Decode(id, &m); err != nil {
			return err
		}
		service := strings.Split(m.EventSourceArn, ":")[2]
		switch service {
		case "dynamodb":
			st := &stream{s: s, m: m}
			s.sources.streams[m.EventSourceArn] = st
			for i := range st.shards {
				st.shards[i].more = make(chan struct{}, 1)
				s.sources.running.Go(func() { st.deliver(ctx, &st.shards[i]) })
			}
		case "sqs":
			s.sources.queues = append(s.sources.queues, m.EventSourceArn)
			s.sources.running.Go(func() { s.consume(ctx, m) })
		default:
			return fmt.Errorf("%s: events of %s are not known here", id, m.EventSourceArn)
		}
	}
	for _, id := range s.Template.IDs("AWS::Events::Rule") {
		if err := s.addRule(id); err != nil {
			return err
		}
	}
	return nil
}

// change is a write to a table, as its stream tells it.
type change struct {
	id, name string // INSERT, MODIFY or REMOVE
	keys     map[string]json.RawMessage
	expired  bool
}

// stream delivers the changes of a table to its function.
type stream struct {
	s      *Stack
	m      mapping
	n      atomic.Int64
	shards [shards]shard
}

type shard struct {
	mu      sync.Mutex
	pending []change
	more    chan struct{}
	busy    bool
	batches int
	last    []change // the last batch that went well
}

func (st *stream) add(c change) {
	c.id = fmt.Sprintf("%032x", st.n.Add(1))
	h := fnv.New32a()
	_, _ = h.Write(c.keys[store.PartAttr])
	sh := &st.shards[h.Sum32()%shards]
	sh.mu.Lock()
	sh.pending = append(sh.pending, c)
	sh.mu.Unlock()
	select {
	case sh.more <- struct{}{}:
	default:
	}
}

// deliver hands a shard's changes over batch by batch. Every third batch is read
// again from the one before it, as a reader does that has lost its place.
func (st *stream) deliver(ctx context.Context, sh *shard) {
	for {
		sh.mu.Lock()
		batch := sh.pending[:min(len(sh.pending), st.m.BatchSize)]
		sh.pending = sh.pending[len(batch):]
		sh.busy = len(batch) > 0
		sh.mu.Unlock()
		if len(batch) == 0 {
			select {
			case <-sh.more:
				continue
			case <-ctx.Done():
				return
			}
		}
		st.try(ctx, batch, 0)
		sh.batches++
		if sh.batches%3 == 0 && !st.s.o.Once {
			st.try(ctx, sh.last, 0)
			st.try(ctx, batch, 0)
		}
		sh.last = batch
	}
}

// try invokes the function until it succeeds. A batch that fails is halved, and
// what fails alone is put aside in the end.
func (st *stream) try(ctx context.Context, batch []change, attempt int) {
	if len(batch) == 0 || ctx.Err() != nil {
		return
	}
	function := template.Name(st.m.FunctionName)
	err := st.s.may(function, st.m.EventSourceArn, "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams")
	if err == nil {
		_, err = st.s.tell(ctx, function, st.event(batch))
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	most := 1 << 30
	if st.m.MaximumRetryAttempts != nil {
		most = *st.m.MaximumRetryAttempts
	}
	if attempt >= most {
		st.s.complain("%d changes of %s are put aside: %v", len(batch), st.m.EventSourceArn, err)
		if to := st.m.DestinationConfig.OnFailure.Destination; to != "" {
			if err := st.s.putAside(function, to, fmt.Sprintf(`{"requestContext":{"condition":"RetryAttemptsExhausted"},"DDBStreamBatchInfo":{"batchSize":%d}}`, len(batch))); err != nil {
				st.s.complain("%v", err)
			}
		}
		return
	}
	pause(ctx, attempt)
	if st.m.BisectBatchOnFunctionError && len(batch) > 1 {
		st.try(ctx, batch[:len(batch)/2], attempt+1)
		st.try(ctx, batch[len(batch)/2:], attempt+1)
		return
	}
	st.try(ctx, batch, attempt+1)
}

// pause is shorter than Lambda's.
func pause(ctx context.Context, attempt int) {
	select {
	case <-time.After(min(10*time.Millisecond<<attempt, time.Second)):
	case <-ctx.Done():
	}
}

func (st *stream) event(batch []change) []byte {
	records := []any{}
	for _, c := range batch {
		record := map[string]any{
			"eventID": c.id, "eventName": c.name, "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": template.Region,
			"dynamodb": map[string]any{
				"ApproximateCreationDateTime": time.Now().Unix(), "Keys": c.keys, "SequenceNumber": c.id[11:], "SizeBytes": 26, "StreamViewType": "KEYS_ONLY",
			},
			"eventSourceARN": st.m.EventSourceArn,
		}
		if c.expired {
			record["userIdentity"] = map[string]string{"type": "Service", "principalId": "dynamodb.amazonaws.com"}
		}
		records = append(records, record)
	}
	text, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		panic(err)
	}
	return text
}

// Told is an event that a worker got from a stream or a queue.
type Told struct {
	Function string
	Event    []byte
}

// Told returns the events that workers got until now, in their order.
func (s *Stack) Told() []Told {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told)
}

// tell invokes a worker.
func (s *Stack) tell(ctx context.Context, function string, event []byte) ([]byte, error) {
	s.mu.Lock()
	s.told = append(s.told, Told{function, event})
	s.mu.Unlock()
	return s.Lambda.Invoke(ctx, function, event)
}

func (st *stream) idle() bool {
	for i := range st.shards {
		sh := &st.shards[i]
		sh.mu.Lock()
		busy := sh.busy || len(sh.pending) > 0
		sh.mu.Unlock()
		if busy {
			return false
		}
	}
	return true
}

// rule is an AWS::Events::Rule that starts a function in intervals.
type rule struct{ arn, function string }

var rate = regexp.MustCompile(`^rate\((1 minute|[1-9]\d* minutes)\)$`)

func (s *Stack) addRule(id string) error {
	var p struct {
		ScheduleExpression string
		Targets            []struct{ Arn string }
	}
	if err := s.Template.Decode(id, &p); err != nil {
		return err
	}
	if !rate.MatchString(p.ScheduleExpression) {
		return fmt.Errorf("%s: the schedule %q is not known here", id, p.ScheduleExpression)
	}
	arn, err := s.Template.Attribute(id, "Arn")
	if err != nil {
		return err
	}
	for _, target := range p.Targets {
		name := template.Name(target.Arn)
		if err := s.permitted(name, "events.amazonaws.com", "lambda:InvokeFunction", arn.(string)); err != nil {
			return err
		}
		s.sources.rules[strings.TrimPrefix(name, s.Template.Stack+"_")] = &rule{arn.(string), name}
	}
	return nil
}

// Rules returns the functions that are started in intervals, without the name of
// the stack.
func (s *Stack) Rules() (names []string) {
	for name := range s.sources.rules {
		names = append(names, name)
	}
	return names
}

// Fire does what a rule does when its time has come: the function gets an event,
// and gets it up to two times more if it fails.
func (s *Stack) Fire(ctx context.Context, function string) error {
	r := s.sources.rules[function]
	if r == nil {
		return fmt.Errorf("no rule starts %s", function)
	}
	event, err := json.Marshal(map[string]any{
		"version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event", "source": "aws.events",
		"account": template.Account, "time": time.Now().UTC().Format(time.RFC3339), "region": template.Region,
		"resources": []string{r.arn}, "detail": map[string]any{},
	})
	if err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		if _, err = s.Lambda.Invoke(ctx, r.function, event); err == nil || attempt == 2 || ctx.Err() != nil {
			return err
		}
		pause(ctx, attempt)
	}
}

// Settle waits until every change and message that is due has been handled.
func (s *Stack) Settle(ctx context.Context) error {
	quiet := 0
	for quiet < 3 {
		idle := true
		for _, q := range s.sources.queues {
			idle = idle && s.waiting(q) == 0
		}
		for _, st := range s.sources.streams {
			idle = idle && st.idle()
		}
		if quiet++; !idle {
			quiet = 0
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
