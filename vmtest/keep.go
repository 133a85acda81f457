package vmtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/held"
)

// keepFlag is the flag of test binaries. Other programs do not have it.
var keepFlag = newKeepFlag()

func newKeepFlag() *bool {
	if !testing.Testing() {
		return new(bool)
	}
	return flag.Bool("vmtest.keep", false, "keep the machine of a failed test until it is released, and print how to open a shell in it")
}

// keepWanted reports whether machines of failed tests are to be kept.
func keepWanted() bool { return *keepFlag || os.Getenv("VMTEST_KEEP") == "1" }

// hold makes the machine reachable for other processes by a name. release is called when a
// user releases the machine; nil is for a machine in use. The caller closes the holder.
func (m *Machine) hold(name string, release func()) (*held.Holder, error) {
	session := m.vm.Session()
	if session == nil {
		return nil, errors.New("hold machine: its agent has not come up")
	}
	return held.Hold(held.Machine{
		Name: name, Image: fmt.Sprintf("%s (systemd %s)", m.Image().Title(), m.Image().SystemdVersion),
		HostKey: session.HostKey(), Connect: m.vm.Connection, Release: release,
	})
}

// answerWait bounds the question whether a guest still has a shell to open.
const answerWait = 10 * time.Second

// keep holds the machine of a failed test until a user releases it, the guest has gone, or
// the test's time is up.
func (m *Machine) keep(t testing.TB) {
	say := func(format string, args ...any) {
		sayAtTerminal(tail.Printable(fmt.Sprintf(format, args...)))
	}
	// In a clean-up the test's own context has ended.
	ctx, cancel := deadline.BeforeEnd(context.WithoutCancel(t.Context()))
	defer cancel()
	if err := m.answers(ctx); err != nil {
		say("the machine of %s is not kept: %v", t.Name(), err)
		return
	}
	released, release := context.WithCancel(context.Background())
	defer release()
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	holder, err := m.hold(t.Name(), release)
	if err != nil {
		say("the machine of %s is not kept: %v", t.Name(), err)
		return
	}
	defer func() {
		if err := holder.Close(); err != nil {
			t.Error(err)
		}
	}()
	say("%s", keptText(ctx, t.Name(), holder.Info()))
	why := ""
	select {
	case <-released.Done():
		why = "released"
	case <-interrupts:
		why = "interrupted"
	case <-m.Done():
		why = "the guest has gone"
	case <-ctx.Done():
		why = context.Cause(ctx).Error()
	}
	say("%s is kept no longer: %s", holder.Info().Name, why)
}

// answers returns nil if the guest's agent answers and there is time left.
func (m *Machine) answers(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := deadline.Within(ctx, deadline.Limit{What: "no answer", Time: answerWait})
	defer cancel()
	conn, err := m.vm.Connection(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

// keptText tells a user how to get into a machine, and how to end it.
func keptText(ctx context.Context, test string, info held.Info) string {
	command := "vmtest"
	if _, err := exec.LookPath(command); err != nil {
		command = "go run example.org/systemd-vmtest/vmtest/cmd/vmtest"
	}
	if cache := os.Getenv("VMTEST_CACHE"); cache != "" {
		command = "VMTEST_CACHE=" + shellQuote(cache) + " " + command
	}
	end := "or until Ctrl-C, after which go test may print no report"
	if at, ok := ctx.Deadline(); ok {
		end += ", or until its time (go test -timeout) is up at " + at.Local().Format(time.TimeOnly)
	}
	return fmt.Sprintf(`%s failed, and its machine is kept: %s
  %s shell --attach %s    opens a shell in it
  %[3]s release %[4]s    ends it
%[5]s`, test, info.Image, command, info.Name, end)
}

// sayAtTerminal prints a text for the user who started the test, at the terminal if there
// is one: go test may keep the output of tests back until their end.
func sayAtTerminal(text string) {
	var w io.Writer = os.Stderr
	// Not without O_NONBLOCK: a terminal that is stopped must not stop the test.
	if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0); err == nil {
		defer tty.Close()
		_ = tty.SetWriteDeadline(time.Now().Add(time.Second))
		w = tty
	}
	terminalMutex.Lock()
	defer terminalMutex.Unlock()
	fmt.Fprint(w, "vmtest: "+strings.ReplaceAll(text, "\n", "\nvmtest: ")+"\n")
}

var terminalMutex sync.Mutex

// howToEnd returns how a user ends a machine that is held, in parentheses.
func howToEnd(info held.Info) string {
	if info.Waiting {
		return " (vmtest release)"
	}
	return " (end its shell)"
}

// heldText names the machines that users hold, for the notice of a wait for a slot.
func heldText() string {
	all, err := held.List()
	if err != nil || len(all) == 0 {
		return ""
	}
	var names []string
	for _, info := range all {
		names = append(names, info.Name+howToEnd(info))
	}
	return "; held: " + strings.Join(names, ", ")
}
