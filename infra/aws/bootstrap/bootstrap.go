// Package bootstrap builds the program that every function of a stack runs.
package bootstrap

import (
	"fmt"
	"os"
	"os/exec"
)

// Name is what Lambda calls the program.
const Name = "bootstrap"

// smaller are flags that make the program smaller and change nothing that it
// does. A cold start loads all of it, and a request runs little.
//
//   - lambda.norpc leaves out how Lambda called Go programs in 2018;
//   - nethttpomithttp2 leaves out HTTP/2, which none of AWS's services that we use
//     speaks, and which is no faster for one request at a time;
//   - s and w leave out what debuggers read; panics still name functions and lines;
//   - l keeps code that runs a few times a request from being copied into its
//     callers.
var smaller = []string{
	"-tags=lambda.norpc,nethttpomithttp2", "-ldflags=-s -w -buildid=",
	"-gcflags=github.com/aws/...=-l", "-gcflags=golang.org/x/text/...=-l", "-gcflags=vendor/...=-l",
	"-gcflags=net/...=-l", "-gcflags=regexp/...=-l", "-gcflags=crypto/tls=-l", "-gcflags=crypto/x509=-l",
	"-gcflags=encoding/asn1=-l", "-gcflags=encoding/xml=-l",
}

// Build compiles functions/main.go into the file, for Linux on a processor that
// has Go's name. The same source gives the same bytes, so that a deploy without
// changes uploads nothing.
func Build(file, goarch string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", file}, smaller...)
	cmd := exec.Command("go", append(args, "github.com/virga-im/virga/functions")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+goarch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the function program: %w\n%s", err, out)
	}
	return nil
}
