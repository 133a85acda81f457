package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
	"example.org/systemd-vmtest/vmtest/internal/slots"
)

// Machine is a running guest. Its methods may be called from several goroutines.
// Whoever got it closes it.
type Machine struct {
	config  Config
	inputs  *inputs
	process *qemu.Process
	monitor *qmp.Client
	link    *link.Client // once connected; see session
	linkMu  sync.Mutex
	console *tail.Buffer
	manager managerConn

	slot        *slots.Ticket // nil when the machine's test holds it
	events      *eventLog
	consoleDone chan struct{} // closed once all of the console has been read
	began       time.Time     // of this machine, be it by a boot or a fork
	eventsDone  chan struct{} // closed once all of QEMU's events have been seen
	closeOnce   sync.Once
	closeErr    error
}

const (
	consoleKept  = 256 << 10 // bytes
	consoleShown = 50        // lines

	// lastWords bounds how long a guest that has let go of its link is given to
	// show why: QEMU's exit comes a moment after the end of its streams.
	lastWords = 2 * time.Second
)

// Image describes the image that the guest runs.
func (m *Machine) Image() images.Manifest { return m.inputs.image.Manifest }

// Began is when this machine was started, be it by a boot or a fork: after its image
// and its snapshot were made, and after its wait for a slot.
func (m *Machine) Began() time.Time { return m.began }

// Console returns what is kept of the guest's serial console, its last 256 KiB.
// It is untrusted text and may hold terminal control sequences.
func (m *Machine) Console() []byte {
	data, _ := m.console.Bytes()
	return data
}

// Done is closed when the guest has gone, whether asked to or not.
func (m *Machine) Done() <-chan struct{} { return m.process.Done() }

// Close ends the guest at once, as a power cut would, and waits until nothing is
// left of it. Closing it again does nothing.
func (m *Machine) Close() error {
	m.closeOnce.Do(func() {
		m.process.Kill() // first: whoever waits for the guest lets go with it
		if s := m.session(); s != nil {
			s.Close()
		}
		m.manager.close()
		if m.monitor != nil {
			m.monitor.Close()
		}
		finished(m.consoleDone)
		if m.slot != nil {
			m.closeErr = m.slot.Close()
		}
	})
	return m.closeErr
}

// session is the current session with the guest's agent, nil before the first one.
// It changes when the guest reboots.
func (m *Machine) session() *link.Client {
	m.linkMu.Lock()
	defer m.linkMu.Unlock()
	return m.link
}

// readConsole keeps the guest's console until QEMU closes it.
func (m *Machine) readConsole() {
	defer close(m.consoleDone)
	var w io.Writer = m.console
	if m.config.Console != nil {
		w = io.MultiWriter(m.console, m.config.Console)
	}
	if _, err := io.Copy(w, m.process.Console); err != nil {
		// The caller's writer gave up; the guest must not block on its console.
		io.Copy(m.console, m.process.Console)
	}
}

// finished waits for the reader of a stream of QEMU's that has ended. A
// Config.Console that blocks holds it up, and must not hold up more than that.
func finished(reader <-chan struct{}) {
	select {
	case <-reader:
	case <-time.After(lastWords):
	}
}

// gone returns err as a *GuestError when its reason is that the guest has gone,
// and as it is otherwise.
func (m *Machine) gone(doing string, err error) error {
	if !errors.Is(err, link.ErrLost) && !errors.Is(err, qmp.ErrClosed) || errors.As(err, new(*GuestError)) {
		return err
	}
	ctx, cancel := within(context.Background(), limit{time: lastWords})
	defer cancel()
	select {
	case <-m.Done():
		return m.guestError(doing, m.process.Err())
	case <-ctx.Done():
		what := "the guest's agent let go of the link"
		if errors.Is(err, qmp.ErrClosed) {
			what = "QEMU's monitor is closed"
		}
		return m.guestError(doing, fmt.Errorf("%s while QEMU goes on: %w; %v", what, err, m.examine()))
	}
}

// guestError puts err together with the evidence, and names the cause that the
// console or QEMU shows, when one does.
func (m *Machine) guestError(doing string, err error) error {
	gone := false
	select {
	case <-m.Done():
		finished(m.consoleDone)
		finished(m.eventsDone)
		gone = true
	default:
	}
	lines := m.console.Lines(math.MaxInt)
	cause := consoleCause(lines) // a panic's own trace may be longer than what is shown
	if cause == "" && gone {
		switch m.ending() {
		case Poweroff:
			cause = "the guest powered off"
		case Reboot:
			cause = "the guest rebooted"
		}
	}
	if cause != "" {
		err = fmt.Errorf("%s: %w", cause, err)
	}
	return &GuestError{
		Image:   m.inputs.image.Name,
		Doing:   doing,
		Err:     err,
		Console: lines[max(0, len(lines)-consoleShown):],
		Stderr:  tail.Printable(m.process.Stderr()),
	}
}

// consoleCause finds the line in which a guest that died said why.
func consoleCause(lines []string) string {
	var cause string
	for _, line := range lines {
		if _, text, ok := strings.Cut(line, "vmtest init: "); ok {
			return "the guest's init stopped: " + text
		}
		if _, text, ok := strings.Cut(line, "Kernel panic - not syncing: "); ok {
			cause = "the guest's kernel panicked: " + text
		}
	}
	return cause
}

// bounded returns a context that also ends when the guest has gone, so that
// nothing waits for a dead guest.
func (m *Machine) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := make(chan struct{})
	go func() {
		select {
		case <-m.Done():
			cancel(link.ErrLost)
		case <-stop:
		}
	}()
	return ctx, sync.OnceFunc(func() {
		close(stop)
		cancel(nil)
	})
}
