// Package oracle compares our Matrix core with the two Go libraries that have
// one: gomatrixserverlib and mautrix-go.
//
// It is a module of its own, so that neither reaches the product's go.sum. The
// tests make random and hostile inputs from a fixed seed, ask all three, and
// hold each difference against one list, divergences_test.go: a difference that
// is not in the list fails, and so does an entry of the list that was not seen.
// So an entry is removed when its library is mended, and nothing new goes
// unnoticed. Neither library is trusted: where they differ from us, the entry
// names the sentence of the specification that decides.
//
//	GOEXPERIMENT=jsonv2 CGO_ENABLED=0 go test ./...                # compare
//	GOEXPERIMENT=jsonv2 CGO_ENABLED=0 go test . -args -seed 7      # other inputs
//	GOEXPERIMENT=jsonv2 CGO_ENABLED=0 go test . -args -update      # write the table in events/README.md
//	CGO_ENABLED=0 go run ./bench                                   # the benchmarks
//
// mautrix-go reads events with encoding/json/v2, which Go 1.26 has behind
// GOEXPERIMENT=jsonv2. The test tests/differential of the main module runs all
// of this as part of go test ./....
package oracle
