package qemu

import (
	"os/exec"
	"runtime"
	"sync"
)

// startFromLastingThread starts cmd from a thread that lives as long as this
// process. The kernel sends a child its Pdeathsig when the thread that forked it
// dies (prctl(2), PR_SET_PDEATHSIG), and Go ends threads at any time.
func startFromLastingThread(cmd *exec.Cmd) error {
	result := make(chan error)
	lastingThread() <- func() { result <- cmd.Start() }
	return <-result
}

var lastingThread = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})
