package costs

import (
	"flag"
	"math"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write costs.md, routes.md, costs.svg and what README.md says of them")

// TestCostsAreThose that are checked in: what an act costs is seen where it
// changes.
func TestCostsAreThose(t *testing.T) {
	f, err := meterAll()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "costs.md", f.report())
	golden(t, "costs.svg", f.picture())
	readme(t, "costs", f.short())
}

// TestRoutesCostThat has a line for each route.
func TestRoutesCostThat(t *testing.T) {
	first, err := firstSync()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "routes.md", routesTable(told(t), first))
}

func TestEveryPriceHasASource(t *testing.T) {
	for i, p := range prices {
		if p.service == "" || p.what == "" || p.dollars <= 0 || p.per <= 0 || p.source == "" {
			t.Errorf("the price %d is %+v", i, p)
		}
		if !strings.Contains(strings.Join(services, " "), p.service) {
			t.Errorf("%s is in no column", p.service)
		}
	}
	for _, a := range assumptions {
		if a.what == "" || a.why == "" {
			t.Errorf("an assumption has no reason: %+v", *a)
		}
	}
}

// TestAFreeTierIsOfTheMonth: it is taken once from the whole bill.
func TestAFreeTierIsOfTheMonth(t *testing.T) {
	var b bill
	b[runs], b[readUnits] = 3*million, 8*million
	if got, want := b.full(), 3*0.20+8*0.125; math.Abs(got-want) > 1e-9 {
		t.Errorf("%v, not %v", got, want)
	}
	if got, want := b.afterFree(), 2*0.20+8*0.125; math.Abs(got-want) > 1e-9 {
		t.Errorf("after free %v, not %v", got, want)
	}
	if service, share := b.dominant(false); service != "DynamoDB" || math.Abs(share-0.625) > 1e-9 {
		t.Errorf("%s dominates with %v", service, share)
	}
}

func TestRoomsLieOnLines(t *testing.T) {
	f := &figures{rooms: map[int]roomUsage{}}
	for _, n := range sizes {
		var r roomUsage
		r.send.bill[writeUnits] = float64(2*n + 10)
		f.rooms[n] = r
	}
	r := f.rooms[1000]
	r.send.bill[writeUnits] = 13
	f.rooms[1000] = r
	for size, want := range map[int]float64{1: 14, 2: 14, 3: 16, 10: 30, 30: 70, 100: 210, 300: 610, 500: 1010, 501: 13, 1000: 13} {
		if got := f.at(size, func(r roomUsage) bill { return r.send.bill })[writeUnits]; math.Abs(got-want) > 1e-9 {
			t.Errorf("%d members: %v, not %v", size, got, want)
		}
	}
}

// golden compares a generated file with what is checked in.
func golden(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: run go test ./tests/costs -update, and look at what became dearer:\n%s", file, changed(string(got), want))
	}
}

// changed lists the lines that differ.
func changed(got, want string) string {
	var b strings.Builder
	old := strings.Split(got, "\n")
	for i, line := range strings.Split(want, "\n") {
		if i >= len(old) || old[i] != line {
			if i < len(old) {
				b.WriteString("- " + old[i] + "\n")
			}
			b.WriteString("+ " + line + "\n")
		}
	}
	return b.String()
}

// readme checks the text between two markers in README.md.
func readme(t *testing.T, marker, want string) {
	t.Helper()
	const file = "../../README.md"
	begin, end := "<!-- "+marker+" -->", "<!-- /"+marker+" -->"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("README.md has no %s…%s", begin, end)
	}
	switch {
	case got == want:
	case *update:
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("README.md is stale: run go test ./tests/costs -update:\n%s", changed(got, want))
	}
}
