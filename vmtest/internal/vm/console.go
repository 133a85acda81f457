package vm

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/guest"
)

const (
	consoleKept  = 256 << 10 // bytes
	consoleShown = 50        // lines
)

// readConsole keeps the guest's console until QEMU closes it.
func (m *Machine) readConsole() {
	defer close(m.consoleDone)
	var w io.Writer = m.console
	if m.spec.Console != nil {
		w = io.MultiWriter(m.console, m.spec.Console)
	}
	if _, err := io.Copy(w, m.process.Console); err != nil {
		// The caller's writer failed. The guest must not block on its console.
		io.Copy(m.console, m.process.Console)
	}
}

// consoleRead waits until all of the console of a QEMU that has exited is read. It gives up
// after exitTime, because the writer that is Instance.Console may block.
func (m *Machine) consoleRead() {
	select {
	case <-m.consoleDone:
	case <-time.After(exitTime):
	}
}

// panicLine is in the line in which a kernel reports a panic.
const panicLine = "Kernel panic - not syncing: "

// cause returns what the machine shows of why its guest has gone or does not answer, or
// "". It claims only what QEMU reports, or what the console shows of the time before the
// image's own programs run. It quotes the rest of the console as such, because a unit can
// print the same.
func (m *Machine) cause() string {
	lines := m.console.Lines(math.MaxInt)
	if cause := bootCause(m.bootLines(lines)); cause != "" {
		return cause
	}
	var cause string
	if seen := m.events.now(); seen.panicked || isClosed(m.Done()) {
		cause = map[Ending]string{
			EndingPanic:    "the guest's kernel panicked",
			EndingPoweroff: "the guest powered off",
			EndingReboot:   "the guest rebooted",
		}[seen.ending()]
	}
	quote := quoteCause(lines)
	if cause != "" && quote != "" {
		return cause + "; " + quote
	}
	return cause + quote
}

// bootLines returns the lines of the console that the kernel and init printed before the
// image's own programs ran.
func (m *Machine) bootLines(lines []string) []string {
	if m.resumed { // they are on the console of the machine that was saved
		return nil
	}
	if _, dropped := m.console.Bytes(); dropped {
		return nil
	}
	end := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, guest.HandOver) })
	if end < 0 {
		end = len(lines)
	}
	return lines[:end]
}

// bootCause returns why a boot ended, from lines that only the kernel and init can have
// printed, or "".
func bootCause(lines []string) string {
	// The kernel panics when init ends, so init's reason is the first one.
	if cause, failed := guest.InitFailure(lines); failed {
		return "the guest's init stopped: " + cause
	}
	for _, line := range lines {
		if _, cause, ok := strings.Cut(line, panicLine); ok {
			return "the guest's kernel panicked: " + cause
		}
	}
	return ""
}

// quoteCause quotes the last line that looks like init's or the kernel's report of its
// end, or returns "". The trace of a panic may be longer than consoleShown.
func quoteCause(lines []string) string {
	for _, marker := range []string{guest.InitFailed, panicLine} {
		for _, line := range slices.Backward(lines) {
			if i := strings.Index(line, marker); i >= 0 {
				return fmt.Sprintf("the console shows: %q", line[i:])
			}
		}
	}
	return ""
}

// beforeEnd and afterEnd are the lines of the console around a report of the guest's end that
// are shown. The registers of a panic come after them.
const (
	beforeEnd = 4
	afterEnd  = 12
)

// ConsoleEnd returns the lines of the console around init's or the kernel's last report of its
// end, or else its last most lines.
func (m *Machine) ConsoleEnd(most int) []string {
	return consoleEnd(m.console.Lines(math.MaxInt), most)
}

func consoleEnd(lines []string, most int) []string {
	for i, line := range slices.Backward(lines) {
		if strings.Contains(line, guest.InitFailed) || strings.Contains(line, panicLine) {
			return lines[max(0, i-beforeEnd):min(len(lines), i+1+afterEnd)]
		}
	}
	return lines[max(0, len(lines)-most):]
}
