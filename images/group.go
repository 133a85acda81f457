package images

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// group is a process group for the tools of one build. mmdebstrap has many
// descendants, such as apt and dpkg. None may outlive the build, not even when this
// process is killed. Pdeathsig cannot do that, as it reaches the direct child alone.
//
// The group's leader is a shell that waits for its standard input to end. If
// this process dies, the kernel closes the pipe, and the shell ends the group.
type group struct {
	leader *exec.Cmd
	alive  io.WriteCloser
	// grace is the time after SIGTERM for mmdebstrap to unmount and remove its work.
	grace time.Duration
	// silence is the time without output after which an installation is ended.
	silence time.Duration
}

// leaderScript survives the SIGTERM: an ignored signal stays ignored across exec, so
// sleep ignores it too.
const leaderScript = `trap "" TERM INT HUP; read -r word
kill -TERM 0; sleep 10; kill -KILL 0`

func newGroup() (*group, error) {
	cmd := exec.Command("/bin/sh", "-c", leaderScript)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	alive, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start process group: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start process group: %w", err)
	}
	return &group{leader: cmd, alive: alive, grace: 10 * time.Second, silence: silenceLimit}, nil
}

// command returns a command that runs within the group.
func (g *group) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = "/" // the tools' user ids may not enter the caller's directory
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: g.leader.Process.Pid}
	return cmd
}

// terminate asks every process of the group to end.
func (g *group) terminate() { _ = syscall.Kill(-g.leader.Process.Pid, syscall.SIGTERM) }

// kill ends every process of the group, the leader included.
func (g *group) kill() { _ = syscall.Kill(-g.leader.Process.Pid, syscall.SIGKILL) }

// end asks every process of the group to end, and kills those that are left after the
// grace period. callOff prevents that.
func (g *group) end() (callOff func()) {
	g.terminate()
	late := time.AfterFunc(g.grace, g.kill)
	return func() { late.Stop() }
}

// bind ends the group when ctx ends, until unbind is called.
func (g *group) bind(ctx context.Context) (unbind func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer g.end()()
		<-done
	})
	return func() {
		stop()
		close(done)
	}
}

// endLater is end for tools that should end by themselves within the grace period.
func (g *group) endLater() (callOff func()) {
	soft := time.AfterFunc(g.grace, g.terminate)
	hard := time.AfterFunc(2*g.grace, g.kill)
	return func() {
		soft.Stop()
		hard.Stop()
	}
}

// close kills what is left of the group, the leader included.
func (g *group) close() {
	g.kill()
	_ = g.alive.Close()
	_ = g.leader.Wait() // its status shows only how it was ended
}
