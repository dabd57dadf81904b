package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A result is everything about one act.
type result struct {
	act *act
	timing
	consumption
}

func (x *result) verdict() string {
	v := x.act.budget.verdict(x.warm)
	if strings.Contains(v, "over") && x.act.over != "" {
		v += ": " + x.act.over
	}
	return v
}

// A report is what results.md says.
type report struct {
	n          int
	results    []result
	start      spread
	busy, idle spread
	runs       int
}

func (r *report) write(w io.Writer) error {
	p := &printer{w: w}
	p.printf("# Benchmark\n\nWritten by `go run ./tests/bench`; see its doc comment for what is measured.\n\n%s\n\n", facts())
	p.printf("%d times each by one client, and %d times in all by %d clients at once; register and login, which hash a password as for people, a tenth of that.\n\n", r.n, 4*r.n, crowd)
	p.printf("## Time\n\n")
	p.printf("| act | p50 ms | p99 ms | acts/s by 1 | acts/s by %d | server CPU ms | RU by log | WU by log | aim |\n", crowd)
	p.printf("| --- | --: | --: | --: | --: | --: | --: | --: | --- |\n")
	for _, x := range r.results {
		if x.act.untimed {
			p.row(x.act.name, "–", "–", "–", "–", "–", "–", "–", "")
			continue
		}
		alone, together, reads, writes := rate(x.alone), rate(x.together), units(x.timing.reads), units(x.timing.writes)
		if x.act.wakes {
			// A round waits until the /sync waits, and holds two requests.
			alone, together = "–", "–"
		}
		if x.act.crowd == 1 {
			together = "–"
		} else if x.act.crowd != 0 && !x.act.wakes {
			together += fmt.Sprintf(" (by %d)", x.act.crowd)
		}
		p.row(x.act.name, ms(x.p50), ms(x.p99), alone, together, ms(x.cpu), reads, writes, x.act.aim.verdict(x.timing))
	}
	p.printf("\n## Units\n\n")
	p.printf("| act | RU | WU | RU cold | workers RU | workers WU | budget RU | budget WU | |\n")
	p.printf("| --- | --: | --: | --: | --: | --: | --: | --: | --- |\n")
	for _, x := range r.results {
		if x.act.unitless {
			continue
		}
		budgetReads, budgetWrites := "–", "–"
		if b := x.act.budget; b != nil {
			budgetReads, budgetWrites = units(b.reads), units(b.writes)
		}
		p.row(x.act.name, units(x.warm.reads), units(x.warm.writes), units(x.cold.reads), units(x.warm.workReads), units(x.warm.workWrites),
			budgetReads, budgetWrites, x.verdict())
	}
	p.printf("\n## Process\n\n")
	p.printf("%d runs on new folders.\n\n", r.runs)
	p.printf("| | min | median | max | budget | Dendrite | |\n| --- | --: | --: | --: | --: | --: | --- |\n")
	p.row("start to first answer of /versions, ms", spreadRow(r.start, startBudget.Seconds()*1000, "70")...)
	p.row("resident memory idle after 30 requests, MB", spreadRow(r.idle, rssBudget>>20, "57")...)
	p.row("resident memory just after 30 requests, MB", number(r.busy.min), number(r.busy.median), number(r.busy.max), "–", "–", "no budget")
	return p.err
}

// spreadRow judges by the median: the best is what the program needs, the worst
// what the machine did meanwhile.
func spreadRow(s spread, budget float64, dendrite string) []string {
	verdict := "ok"
	if s.median > budget {
		verdict = "**over**"
	}
	return []string{number(s.min), number(s.median), number(s.max), number(budget), dendrite, verdict}
}

// facts are those of the machine.
func facts() string {
	version, commit := runtime.Version(), "unknown"
	if out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		commit = strings.TrimSpace(string(out))
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
	return fmt.Sprintf("%s, commit %s, %s, %s/%s, %d cores (%s)%s. Clients and server share the cores.",
		time.Now().UTC().Format(time.DateOnly), commit, version, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cpu, load)
}

// printer writes until something fails.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) row(name string, cells ...string) {
	p.printf("| %s | %s |\n", name, strings.Join(cells, " | "))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }

func number(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

func rate(f float64) string { return strconv.FormatFloat(f, 'f', 0, 64) }

// units drops a zero after the point.
func units(f float64) string { return strings.TrimSuffix(number(f), ".0") }

// rows returns the first cells of the tables of a report, by heading.
func rows(markdown string) map[string][]string {
	tables := map[string][]string{}
	heading := ""
	for line := range strings.Lines(markdown) {
		if h, ok := strings.CutPrefix(line, "## "); ok {
			heading = strings.TrimSpace(h)
		}
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			tables[heading] = append(tables[heading], strings.TrimSpace(cells[1]))
		}
	}
	for h, list := range tables {
		tables[h] = list[min(2, len(list)):] // without the head of the table
	}
	return tables
}
