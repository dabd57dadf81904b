package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// buildBootstrap compiles functions/main.go into a folder of its own, which is
// the code of every function. The same source gives the same bytes, so that a
// deploy without changes uploads nothing.
func buildBootstrap(arch string) (dir string, err error) {
	dir, err = os.MkdirTemp("", "virga-bootstrap-")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags=lambda.norpc", "-ldflags=-s -w -buildid=",
		"-o", filepath.Join(dir, "bootstrap"), "github.com/virga-im/virga/functions")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+goarch(arch))
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", fmt.Errorf("build the function program: %w\n%s", err, out)
	}
	return dir, nil
}

// goarch and lambdaArch name the processor for Go and for Lambda.
func goarch(arch string) string {
	if arch == "host" {
		return runtime.GOARCH
	}
	return arch
}

func lambdaArch(arch string) string {
	if goarch(arch) == "amd64" {
		return "x86_64"
	}
	return goarch(arch)
}
