// Package vm runs machines: it boots, forks, saves, reboots and ends them, and finds out
// from outside how a guest is.
package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/boot"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// Machine is a running guest. Its methods may be called from several goroutines. The
// caller closes it.
type Machine struct {
	Units // of the guest's PID 1

	spec    Spec
	process *qemu.Process
	monitor *qmp.Client
	console *tail.Buffer
	events  *eventLog
	began   time.Time
	resumed bool // the guest was saved, and continues here

	journal *journal.Store
	origin  int // entries of journal when the machine was forked
	stream  journalStream
	pid1    pid1Port

	clock    clock
	rebooted atomic.Bool // the guest's kernel was started again
	// restarting is set while the session is going to end, and the machine is not. It is set
	// before systemctl runs: an agent that dies by itself before systemctl has ended the
	// system looks like that end.
	restarting atomic.Pointer[EndedError]
	stranded   atomic.Pointer[EndedError] // the error of a session that a failed restart left
	ended      atomic.Pointer[EndedError] // the machine was ended

	mu    sync.Mutex
	link  *link.Client // once connected; see Session
	doing string       // the call that holds the machine, see hold; "" if none
	users map[uint32]*Units

	consoleDone chan struct{} // closed once all of the console has been read
	eventsDone  chan struct{} // closed once all of QEMU's events have been seen
	journalDone chan struct{} // closed once all of the journal has been read
	closeOnce   sync.Once
}

// exitTime bounds the wait for QEMU to exit after its streams have ended, which takes a
// moment, and for other short answers.
const exitTime = 2 * time.Second

// start runs QEMU and connects to its monitor. entries are those of the guest's journal so
// far; nil is none.
func start(ctx context.Context, s Spec, d qemu.Machine, entries *journal.Store) (*Machine, error) {
	run := qemu.Start
	if s.Disk != nil {
		run = func(d qemu.Machine) (*qemu.Process, error) { return s.Disk.run(s.Files.Image, d) }
	}
	process, err := run(d)
	if err != nil {
		return nil, HostError(err)
	}
	m := newMachine(s, process)
	m.resumed = d.Incoming
	if entries != nil {
		m.journal, m.origin = entries, entries.Len()
	}
	go m.readConsole()
	m.readJournal(process.Journal)
	go m.endJournal()
	m.monitor, err = qmp.NewClient(ctx, process.Monitor)
	if err != nil {
		close(m.eventsDone)
		if err = m.Explain(ctx, "start", err); !errors.As(err, new(*GuestError)) {
			err = fmt.Errorf("start %s: %w", s.image(), err)
		}
		m.Close()
		return nil, err
	}
	go func() {
		defer close(m.eventsDone)
		m.events.follow(m.monitor.Events())
	}()
	return m, nil
}

func newMachine(s Spec, process *qemu.Process) *Machine {
	m := &Machine{
		spec:        s,
		process:     process,
		console:     tail.NewBuffer(consoleKept),
		events:      newEventLog(),
		began:       time.Now(),
		users:       make(map[uint32]*Units),
		consoleDone: make(chan struct{}),
		eventsDone:  make(chan struct{}),
		journal:     journal.NewStore(),
		journalDone: make(chan struct{}),
		stream:      journalStream{turn: semaphore.NewWeighted(1), restartable: time.Second, soon: exitTime, overdue: 2 * time.Second},
	}
	m.clock.begin(s.Clock)
	m.Units = Units{systemd.NewManager(func(ctx context.Context) (net.Conn, error) {
		return m.Session().Dial(ctx, "unix", systemd.PrivateSocket)
	}), m}
	return m
}

// Spec returns the description of the machine.
func (m *Machine) Spec() Spec { return m.spec }

// Began returns when the machine was started, by a boot or a fork.
func (m *Machine) Began() time.Time { return m.began }

// Resumed returns when QEMU resumed the guest first, by the host's clock; zero is never.
func (m *Machine) Resumed() time.Time { return m.events.now().resumed }

// Rebooted reports whether Reboot has started the guest's kernel again. The journal of its
// present boot then begins later than the machine.
func (m *Machine) Rebooted() bool { return m.rebooted.Load() }

// Pid returns the process ID of QEMU.
func (m *Machine) Pid() int { return m.process.Pid() }

// Console returns the end of what the guest wrote to its serial console.
func (m *Machine) Console() *tail.Buffer { return m.console }

// Done returns a channel that is closed when the guest has gone.
func (m *Machine) Done() <-chan struct{} { return m.process.Done() }

// Close kills QEMU and gives up all that the machine holds. Further calls do nothing.
func (m *Machine) Close() { m.closeBy("Close") }

// closeBy closes the machine and records by, the name of the calling method, as the cause.
func (m *Machine) closeBy(by string) {
	m.closeOnce.Do(func() {
		m.killBy(by) // first, because it ends every wait for the guest
		if s := m.Session(); s != nil {
			s.Shut(m.goneError()) // the session may have begun after killBy
			s.Close()
		}
		m.closeSystemd(m.goneError())
		if m.monitor != nil {
			m.monitor.Close()
		}
		m.consoleRead()
		m.journalReadSoon()
	})
}

// Session returns the session with the guest's agent, or nil before the first one. A
// reboot of the guest replaces it.
func (m *Machine) Session() *link.Client {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.link
}

// endSession ends the session, and the connection to systemd through it. Calls in progress
// return an error that wraps why.
func (m *Machine) endSession(why *EndedError) {
	s := m.Session()
	s.Shut(why)
	m.closeSystemd(why)
	s.Close()
}

// hold makes the caller the only one that saves or restarts the machine, until it calls
// release. hold returns an error if another call does that, or if ctx has ended: then
// nothing has happened to the machine.
func (m *Machine) hold(ctx context.Context, doing string) (release func(), err error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s %s: %w", doing, m.spec.image(), context.Cause(ctx))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.doing != "" {
		return nil, fmt.Errorf("%s %s: a %s of the machine is in progress", doing, m.spec.image(), m.doing)
	}
	m.doing = doing
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.doing = ""
	}, nil
}

// shakeHands calls dial, which shakes hands with the agent, and returns the session. It ends
// ctx for dial when the port has been closed more than closed times, because QEMU keeps its
// stream open then.
func (m *Machine) shakeHands(ctx context.Context, closed int, dial func(context.Context) (*link.Client, error)) (*link.Client, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		if m.events.waitPortClosed(ctx, closed) == nil {
			cancel(errPortClosed)
		}
	}()
	return dial(ctx)
}

// follow makes client the machine's session until the port has been closed more than closed
// times. The caller has that number from before the handshake.
func (m *Machine) follow(client *link.Client, closed int) {
	m.mu.Lock()
	m.link = client
	m.mu.Unlock()
	go func() {
		err := m.events.waitPortClosed(context.Background(), closed)
		switch restarting := m.restarting.Load(); {
		case err != nil:
			client.Shut(m.goneError())
		case restarting != nil:
			client.Shut(restarting)
		default:
			client.Shut(errPortClosed)
		}
		client.Close()
	}()
}

// errPortClosed is the error of a session that the guest ended.
var errPortClosed = fmt.Errorf("%w: the guest closed its port", link.ErrLost)

// goneError returns why calls end with the machine: the method of this host that ended it,
// or link.ErrLost.
func (m *Machine) goneError() error {
	if ended := m.ended.Load(); ended != nil {
		return ended
	}
	return link.ErrLost
}

// bounded returns a context that also ends when the guest has gone, and before the process
// ends.
func (m *Machine) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancelEnd := deadline.BeforeEnd(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := make(chan struct{})
	go func() {
		select {
		case <-m.Done():
			cancel(m.goneError())
		case <-stop:
		}
	}()
	return ctx, sync.OnceFunc(func() {
		close(stop)
		cancel(nil)
		cancelEnd()
	})
}

// Kill kills QEMU and waits until it is gone.
func (m *Machine) Kill() { m.killBy("Kill") }

// killBy kills QEMU and records by, the name of the calling method, as the cause. Calls in
// progress return an *EndedError, or link.ErrLost if the guest has gone by itself.
func (m *Machine) killBy(by string) {
	seen := m.events.now()
	gone := isClosed(m.Done()) || seen.shutdown != "" || seen.over
	if !gone {
		m.ended.CompareAndSwap(nil, &EndedError{By: by, Gone: true})
	}
	if s := m.Session(); s != nil {
		s.Shut(m.goneError()) // and not Close, because the guest would see that
	}
	m.process.Kill()
}

// Saved reports whether Snapshot has ended the machine.
func (m *Machine) Saved() bool {
	ended := m.ended.Load()
	return ended != nil && ended.By == "Snapshot"
}

// Of returns a machine without a monitor, for tests: its agent is anywhere, on such a system.
func Of(process *qemu.Process, session *link.Client, arch string) *Machine {
	m := newMachine(Spec{Files: &boot.Files{Image: &images.Image{Manifest: images.Manifest{Arch: arch}}}}, process)
	m.link = session
	close(m.consoleDone) // nothing reads them
	close(m.journalDone)
	return m
}
