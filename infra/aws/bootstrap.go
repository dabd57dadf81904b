package main

import (
	"os"
	"path/filepath"
	"runtime"

	"github.com/virga-im/virga/infra/aws/bootstrap"
)

// buildBootstrap compiles the program of all functions into a folder of its own,
// which is their code.
func buildBootstrap(arch string) (dir string, err error) {
	dir, err = os.MkdirTemp("", "virga-bootstrap-")
	if err != nil {
		return "", err
	}
	if err := bootstrap.Build(filepath.Join(dir, bootstrap.Name), goarch(arch)); err != nil {
		os.RemoveAll(dir)
		return "", err
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
