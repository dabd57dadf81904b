package awstest

import (
	"os/exec"
	"syscall"
)

// dieWithParent ends the server also when the test binary is killed, for which
// no cleanup runs.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
