package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/virga-im/virga/tests/meter"
)

// A consumption is what an act consumes, and how.
type consumption struct {
	warm, cold cost
	// explanation says which tables and calls the units of the warm one are of.
	explanation string
}

// warmUps is how often an act is done before it is counted; tries is how often
// it is counted. The cheapest counts: each 64th entry of a log also moves a
// hint, and that is not what the others cost.
const warmUps, tries = 2, 3

// consume measures the units of an act on a server of its own.
func consume(a *act) (c consumption, err error) {
	m, err := meter.New(meter.Options{})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	s := &site{url: "http://localhost:8008", http: http.Client{Transport: m}, settle: m.Settle}
	do, err := a.lane(s, warmUps+tries+1)
	if err != nil {
		return c, fmt.Errorf("prepare %s: %w", a.name, err)
	}
	if err := m.Settle(); err != nil {
		return c, err
	}
	for i := range warmUps + tries + 1 {
		last := i == warmUps+tries
		if last {
			if err := m.Cold(); err != nil {
				return c, err
			}
		}
		m.Reset()
		if _, err := do(i); err != nil {
			return c, fmt.Errorf("%s: %w", a.name, err)
		}
		if err := m.Settle(); err != nil {
			return c, err
		}
		switch now := consumed(m); {
		case last:
			c.cold = now
		case i == warmUps, i > warmUps && now.sum() < c.warm.sum():
			c.warm, c.explanation = now, m.Explain()
		}
	}
	return c, nil
}

func (c cost) sum() float64 { return c.reads + c.writes + c.workReads + c.workWrites }

// consumed is what was consumed since the last reset.
func consumed(m *meter.Server) cost {
	r, w := m.Consumed()
	return cost{r.Reads, r.Writes, w.Reads, w.Writes}
}
