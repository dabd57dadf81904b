package main

import (
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/tests/oracle/readme"
)

const readmeFile = "../../../events/README.md"

// TestTheTablesAreThoseOfTheProgram holds events/README.md to what does not
// depend on the clock: the names of the rows, the events loaded, the steps.
func TestTheTablesAreThoseOfTheProgram(t *testing.T) {
	have, err := readme.Part(readmeFile, "benchmarks")
	if err != nil {
		t.Fatal(err)
	}
	want, err := measure(clock{stopped: true})
	if err != nil {
		t.Fatal(err)
	}
	haveLines, wantLines := clockless(have), clockless(want)
	for i := range max(len(haveLines), len(wantLines)) {
		switch {
		case i >= len(haveLines):
			t.Errorf("events/README.md lacks %s", wantLines[i])
		case i >= len(wantLines):
			t.Errorf("events/README.md has %s", haveLines[i])
		case haveLines[i] != wantLines[i]:
			t.Errorf("events/README.md has\n%s, not\n%s", haveLines[i], wantLines[i])
		}
	}
	if t.Failed() {
		t.Log("write it by: CGO_ENABLED=0 go run ./bench -update")
	}
}

// clockless lists the rows of the tables without the cells that the clock wrote.
func clockless(report string) (rows []string) {
	heads := map[string][]bool{}
	for _, t := range []*table{newEventTable(), newRoomTable()} {
		heads[strings.Join(t.head, " | ")] = t.timed
	}
	var timed []bool
	for line := range strings.Lines(report) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if t, ok := heads[strings.Join(cells, " | ")]; ok {
			timed = t
		} else if len(cells) == len(timed) {
			for i := range cells {
				if timed[i] && !strings.HasPrefix(cells[i], "--") {
					cells[i] = "·"
				}
			}
		}
		rows = append(rows, strings.Join(cells, " | "))
	}
	return rows
}

func TestRoomsThatTakeTooLongAreNotTried(t *testing.T) {
	x := &extrapolation{sizes: []int{4, 6, 8}, took: []time.Duration{5 * time.Millisecond, 65 * time.Millisecond, 2 * time.Second}}
	for _, n := range []int{10, 30, 100, 100_000} {
		if !x.tooLong(n) {
			t.Errorf("%d would be tried", n)
		}
	}
	x = &extrapolation{sizes: []int{1000, 10_000}, took: []time.Duration{5 * time.Millisecond, 270 * time.Millisecond}}
	if x.tooLong(40_000) {
		t.Error("40,000 would not be tried")
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 100_009: "100,009", 1_234_567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %s, not %s", n, got, want)
		}
	}
	for each, want := range map[time.Duration]string{0: "–", 1500: "1.50 µs", 2500 * time.Microsecond: "2.50 ms", 3 * time.Second: "3.00 s"} {
		if got := (timing{each: each}).String(); got != want {
			t.Errorf("%d is %s, not %s", each, got, want)
		}
	}
}
