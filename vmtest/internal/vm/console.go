package vm

import (
	"io"
	"strings"
	"time"
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
		// The caller's writer failed; the guest must not block on its console.
		io.Copy(m.console, m.process.Console)
	}
}

// finished waits for the reader of a stream that QEMU has closed. It gives up after a
// while, because the writer that Instance.Console is may block.
func finished(reader <-chan struct{}) {
	select {
	case <-reader:
	case <-time.After(lastWords):
	}
}

// consoleCause returns the line in which a guest that died says why, or "".
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
