package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
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

// time measures f, which fails the whole run if it returns an error.
func (c clock) time(f func() error) (timing, error) {
	if err := f(); err != nil || c.stopped {
		return timing{}, err
	}
	var err error
	r := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if err = f(); err != nil {
				b.FailNow()
			}
		}
	})
	return timing{each: time.Duration(float64(r.T) / float64(r.N))}, err
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
		return strconv.FormatFloat(f, 'f', 0, 64)
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
	commit := "unknown"
	if out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		commit = strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%s, commit %s, %s, %s/%s, %d cores (%s)%s. `CGO_ENABLED=0 go run ./bench -update` in `tests/oracle`.",
		time.Now().UTC().Format(time.DateOnly), commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cpu, load)
}
