package aws

import (
	"context"
	"fmt"
	"iter"
	"sync"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/virga-im/virga/shared/store"
)

// Scan reads whole tables, for those who export a whole server. It is not part of
// store.DB, and no function's role allows it.
//
// A scan is not of one moment: what is written meanwhile is in it, or is not. Use it
// on tables that nobody writes to.
type Scan struct {
	db *db
	// Segments is in how many parts a table is read at the same time; zero is 4.
	Segments int
}

// NewScan returns the Scan of the stack's tables.
func NewScan(o Options) *Scan { return &Scan{db: NewDB(o).(*db)} }

// Items yields every item of a table, in no order. Of each part a page of 1 MB is in
// memory, and the next one on its way.
func (s *Scan) Items(ctx context.Context, t *store.Table) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		pages := make(chan page)
		var readers sync.WaitGroup
		segments := max(s.Segments, 1)
		if s.Segments == 0 {
			segments = 4
		}
		for i := range segments {
			readers.Go(func() { s.segment(ctx, t, i, segments, pages) })
		}
		go func() { readers.Wait(); close(pages) }()
		defer func() {
			cancel()
			for range pages { // let the readers end
			}
		}()
		for p := range pages {
			for _, it := range p.items {
				if !yield(it, nil) {
					return
				}
			}
			if p.err != nil {
				yield(store.Item{}, p.err)
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(store.Item{}, err)
		}
	}
}

type page struct {
	items []store.Item
	err   error
}

// segment reads one of the parts of a table to its end, or to the first error.
func (s *Scan) segment(ctx context.Context, t *store.Table, i, of int, pages chan<- page) {
	give := func(p page) bool {
		select {
		case pages <- p:
			return p.err == nil
		case <-ctx.Done():
			return false
		}
	}
	client, err := s.db.client()
	if err != nil {
		give(page{err: err})
		return
	}
	in := &dynamodb.ScanInput{
		TableName: s.db.table(t), ConsistentRead: sdk.Bool(true),
		Segment: sdk.Int32(int32(i)), TotalSegments: sdk.Int32(int32(of)),
	}
	for idle := 0; ; {
		out, err := client.Scan(ctx, in)
		if throttled(err) && idle < scanPauses {
			idle++
			if err := s.db.sleep(ctx, pause(min(idle, batchPauses))); err != nil {
				give(page{err: err})
				return
			}
			continue
		}
		if err != nil {
			give(page{err: fmt.Errorf("scan %s: %w", t.Name, mapped(err))})
			return
		}
		idle = 0
		p := page{items: make([]store.Item, 0, len(out.Items))}
		for _, a := range out.Items {
			it, err := decodeItem(a)
			if err != nil {
				p.err = fmt.Errorf("scan %s: %w", t.Name, err)
				break
			}
			p.items = append(p.items, it)
		}
		if !give(p) || len(out.LastEvaluatedKey) == 0 {
			return
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// scanPauses is how often a page that is throttled is asked for again.
const scanPauses = 60
