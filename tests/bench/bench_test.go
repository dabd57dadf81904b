package main

import (
	"bytes"
	"os"
	"slices"
	"testing"
	"time"
)

// TestActsStayWithinTheirUnits asserts what acts consume, not how long they
// take: units are the same on every machine.
func TestActsStayWithinTheirUnits(t *testing.T) {
	for i := range acts {
		a := &acts[i]
		if a.unitless {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			c, err := consume(a)
			if err != nil {
				t.Fatal(err)
			}
			now := limit{c.warm.reads, c.warm.writes + c.warm.workWrites, c.warm.workReads}
			t.Logf("%+v of %+v", now, a.limit)
			if now.reads > a.limit.reads || now.writes > a.limit.writes || now.workReads > a.limit.workReads {
				t.Errorf("%s takes %+v units, more than %+v (see acts.go):\n%s", a.name, now, a.limit, c.explanation)
			}
		})
	}
}

// TestLimitsAreTheBudgets keeps a limit from rising above a budget without a
// reason.
func TestLimitsAreTheBudgets(t *testing.T) {
	for _, a := range acts {
		if a.budget == nil {
			continue
		}
		over := a.limit.reads > a.budget.reads || a.limit.writes > a.budget.writes
		if over != (a.over != "") {
			t.Errorf("%s: the limit is %+v and the budget %+v, and it is over since %q", a.name, a.limit, *a.budget, a.over)
		}
	}
}

// actNames are the acts that a table lists.
func actNames(heading string) []string {
	var names []string
	for _, a := range acts {
		if heading != "Units" || !a.unitless {
			names = append(names, a.name)
		}
	}
	return names
}

func TestResultsListTheActs(t *testing.T) {
	b, err := os.ReadFile("results.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := rows(string(b))
	for _, heading := range []string{"Time", "Units"} {
		if got, want := tables[heading], actNames(heading); !slices.Equal(got, want) {
			t.Errorf("results.md lists under %s\n%q, not\n%q: go run ./tests/bench -out tests/bench/results.md", heading, got, want)
		}
	}
}

func TestReportListsTheActs(t *testing.T) {
	r := &report{n: 1, runs: 1}
	for i := range acts {
		r.results = append(r.results, result{act: &acts[i]})
	}
	var b bytes.Buffer
	if err := r.write(&b); err != nil {
		t.Fatal(err)
	}
	tables := rows(b.String())
	if !slices.Equal(tables["Time"], actNames("Time")) || !slices.Equal(tables["Units"], actNames("Units")) || len(tables["Process"]) != 3 {
		t.Errorf("the report lists %q", tables)
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		budget *budget
		cost   cost
		want   string
	}{
		{nil, cost{reads: 100}, "no budget"},
		{&budget{6, 14}, cost{6, 12, 99, 2}, "ok"},
		{&budget{6, 14}, cost{6.5, 12, 0, 2}, "**over** in reads"},
		{&budget{6, 14}, cost{6, 12, 0, 3}, "**over** in writes"},
		{&budget{6, 14}, cost{7, 15, 0, 0}, "**over** in reads and writes"},
	} {
		if got := c.budget.verdict(c.cost); got != c.want {
			t.Errorf("%v of %v is %q, not %q", c.cost, c.budget, got, c.want)
		}
	}
}

func TestPercentiles(t *testing.T) {
	var list []time.Duration
	for i := range 200 {
		list = append(list, time.Duration(i+1))
	}
	for p, want := range map[int]time.Duration{0: 1, 50: 100, 99: 198, 100: 200} {
		if got := percentile(list, p); got != want {
			t.Errorf("the percentile %d is %d, not %d", p, got, want)
		}
	}
	if got := percentile(list[:1], 99); got != 1 {
		t.Errorf("the percentile of one is %d", got)
	}
}

func TestLogLines(t *testing.T) {
	line := `time=2026-11-21T07:00:00.000Z level=INFO msg=request method=PUT route=sendMessage request_id=x status=200 ms=2.1 ru=5 wu=12.5 user_id=@a:localhost`
	if r, ok := parseRequest(line); !ok || r != (request{"sendMessage", "200", 5, 12.5}) {
		t.Errorf("read %+v, %t", r, ok)
	}
	if _, ok := parseRequest(`level=WARN msg="flags without effect in this version"`); ok {
		t.Error("read a request where there is none")
	}
}

func TestStat(t *testing.T) {
	got, err := parseStat("4242 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14")
	if err != nil || got != 2*time.Second {
		t.Errorf("%s %v", got, err)
	}
	if _, err := parseStat("4242 (virga) S 1"); err == nil {
		t.Error("a short line is a time")
	}
}
