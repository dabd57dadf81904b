package rehearsal

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	// Most of the time a story waits, for a process to start or for what it
	// waits for to happen.
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("4"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if testing.Verbose() {
		fmt.Println(Budget())
	}
	Clean()
	os.Exit(code)
}
