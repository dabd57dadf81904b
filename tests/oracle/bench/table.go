package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/virga-im/virga/tests/oracle/readme"
)

// A clock measures how long something takes; one that is stopped runs it once
// and says nothing, so that a table shows what does not depend on the machine.
type clock struct{ stopped bool }

// A timing is what a clock says, in words if it could not be told in numbers.
type timing struct {
	each time.Duration
	word string
}

// The batches of one function, and how long one is to take. The shortest counts:
// what else the machine does only ever makes a batch longer.
const (
	batches = 12
	batch   = 20 * time.Millisecond
)

// time measures functions in turns, so that all have the machine in the same
// moods. One that is nil is not measured, one that fails fails the whole run.
func (c clock) time(fs ...func() error) ([]timing, error) {
	times := make([]timing, len(fs))
	for turn := range batches + 1 {
		for i, f := range fs {
			if f == nil || turn > 0 && c.stopped {
				continue
			}
			n := 1
			if turn > 0 {
				n = max(1, int(batch/max(times[i].each, 1)))
			}
			begin := time.Now()
			for range n {
				if err := f(); err != nil {
					return nil, err
				}
			}
			if each := time.Since(begin) / time.Duration(n); turn <= 1 || each < times[i].each {
				// The first turn only warms up, and tells how much a batch is.
				times[i].each = max(each, 1)
			}
		}
	}
	if c.stopped {
		clear(times)
	}
	return times, nil
}

func (t timing) String() string {
	switch {
	case t.word != "":
		return t.word
	case t.each == 0:
		return "–"
	case t.each < 100*time.Microsecond:
		return strconv.FormatFloat(float64(t.each.Nanoseconds())/1e3, 'f', 2, 64) + " µs"
	case t.each < 100*time.Millisecond:
		return strconv.FormatFloat(float64(t.each.Nanoseconds())/1e6, 'f', 2, 64) + " ms"
	}
	return strconv.FormatFloat(t.each.Seconds(), 'f', 2, 64) + " s"
}

// times says how many times as long theirs takes.
func times(theirs, ours timing) string {
	if theirs.each == 0 || ours.each == 0 {
		return "–"
	}
	f := float64(theirs.each) / float64(ours.each)
	if f >= 10 {
		return grouped(int(f + 0.5))
	}
	return strconv.FormatFloat(f, 'f', 1, 64)
}

// A table is one of the report. Columns that depend on the clock are marked.
type table struct {
	head  []string
	timed []bool
	rows  [][]string
}

func newTable(columns ...string) *table {
	t := &table{}
	for _, c := range columns {
		name, timed := strings.CutPrefix(c, "~")
		t.head, t.timed = append(t.head, name), append(t.timed, timed)
	}
	return t
}

func (t *table) row(cells ...any) {
	var row []string
	for _, c := range cells {
		row = append(row, readme.Cell(fmt.Sprint(c)))
	}
	t.rows = append(t.rows, row)
}

func (t *table) String() string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.head)
	rule := []string{"---"}
	for range t.head[1:] {
		rule = append(rule, "--:")
	}
	line(rule)
	for _, r := range t.rows {
		line(r)
	}
	return b.String()
}

// facts are those of the machine.
func facts(c clock) string {
	if c.stopped {
		return "facts"
	}
	cpu := "unknown"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, model, ok := strings.Cut(string(b), "model name\t: "); ok {
			cpu, _, _ = strings.Cut(model, "\n")
		}
	}
	load := ""
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = ", load average " + strings.Join(strings.Fields(string(b))[:3], " ") + " at the end"
	}
	return fmt.Sprintf("%s, %s, %s/%s, %d cores (%s)%s. `CGO_ENABLED=0 go run ./bench -update` in `tests/oracle`.",
		time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cpu, load)
}
