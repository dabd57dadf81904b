package lambda

import (
	"os/exec"
	"syscall"
)

// dieWithParent ends a process also when the test binary is killed, for which
// no cleanup runs. A frozen process would stay for ever.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
