// Command bench measures our Matrix core beside gomatrixserverlib's, on the same
// events and rooms in one run, and prints the tables of events/README.md.
//
//	CGO_ENABLED=0 go run ./bench            # two minutes; prints
//	CGO_ENABLED=0 go run ./bench -update    # writes events/README.md
//
// Run it in tests/oracle, and without GOEXPERIMENT=jsonv2, which is not the JSON
// that gomatrixserverlib's users have.
//
// What does not depend on the clock, which is the names of the rows, the events
// loaded and the steps, is checked by the tests here.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/virga-im/virga/tests/oracle/readme"
)

func main() {
	file := flag.String("readme", "../../events/README.md", "the file that -update writes")
	update := flag.Bool("update", false, "write the tables into the file")
	flag.Parse()
	if err := run(*file, *update); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(file string, update bool) error {
	report, err := measure(clock{})
	if err != nil {
		return err
	}
	fmt.Print(report)
	if update {
		return readme.Write(file, "benchmarks", report)
	}
	return nil
}

// measure runs everything with a clock, and writes the tables.
func measure(c clock) (string, error) {
	events, err := eventTable(c)
	if err != nil {
		return "", err
	}
	rooms, err := roomTable(c)
	if err != nil {
		return "", err
	}
	return "\n" + facts(c) + "\n\n" + events.String() + "\n" + rooms.String() + "\n", nil
}
