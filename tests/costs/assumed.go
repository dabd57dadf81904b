package costs

import (
	"math"

	"github.com/virga-im/virga/tests/meter"
)

// What no meter on this machine can tell is declared here. Nothing of it was
// measured on AWS; the tables repeat it. Time is not measured at all: it would
// differ from machine to machine.

// An assumption is a number with its reason.
type assumption struct {
	value float64
	unit  string
	what  string
	why   string
}

var (
	storeCallMS = assumption{5, "ms", "a call of DynamoDB, from a function", "assumed; AWS says single-digit milliseconds"}
	requestMS   = assumption{8, "ms", "what a function computes for a request",
		"assumed: tests/bench/results.md has 0.05 to 1.5 ms of a whole processor, and 256 MB are a seventh of one"}
	passwordMS = assumption{50, "ms", "hashing a password", "tests/bench/results.md: 25 ms of a whole processor; 1,024 MB are 0.58 of one"}
	workerMS   = assumption{8, "ms", "what a worker computes for a batch", "assumed, as for a request"}
	pushMS     = assumption{200, "ms", "waiting for a push gateway", "assumed"}
	initMS     = assumption{400, "ms", "start of a cold function, which is billed", "assumed; a Go program of this size is reported at 100 to 400"}
	coldShare  = assumption{0.05, "", "share of runs that are cold", "assumed for a busy office; a server used a few times a day has almost only cold ones, which costs it cents"}
	headersOut = assumption{700, "B", "headers and TLS of an answer", "assumed: those of tests/lambda are about 500"}
	headersIn  = assumption{900, "B", "headers of a request, with those of the front door", "assumed"}
	logLine    = assumption{26, "B", "what CloudWatch adds to a line of the log", "CloudWatch's documentation"}
	pushBytes  = assumption{2500, "B", "a notification to a push gateway, with TLS", "assumed"}
	messageGB  = assumption{8192, "B", "what a message adds to the tables, all indexes", "assumed: 1.5 KB of event, its index, words, and log entries that expire"}
)

var assumptions = []*assumption{
	&storeCallMS, &requestMS, &passwordMS, &workerMS, &pushMS, &initMS, &coldShare,
	&headersOut, &headersIn, &logLine, &pushBytes, &messageGB,
}

// A function makes its first calls of the store one after another, and where it
// makes many, as many at a time as shared/timeline does for rooms.
const inSequence, atATime = 16, 8

// storeMS is the time that a function waits for the store.
func storeMS(calls int) float64 {
	return storeCallMS.value * (float64(min(calls, inSequence)) + float64(max(0, calls-inSequence))/atATime)
}

// A function is what is known of the function of a route or worker.
type function struct {
	memoryMB  int
	passwords bool
	streams   bool // its requests come by its own URL, and not by the gateway
}

// milliseconds is what a run of a function is assumed to take, without a wait.
func (f function) milliseconds(r meter.Run, pushes bool) float64 {
	ms := storeMS(r.Calls) + initMS.value*coldShare.value
	switch {
	case r.Worker && pushes:
		ms += workerMS.value + pushMS.value
	case r.Worker:
		ms += workerMS.value
	case f.passwords:
		ms += requestMS.value + passwordMS.value
	default:
		ms += requestMS.value * 256 / float64(f.memoryMB) // memory is processor too
	}
	return math.Ceil(ms - nudge) // as it is billed
}
