package vm

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/tail"
)

// processors is what the guest's processors wait for.
type processors struct {
	idle  bool          // and no interrupt is on the way
	spent bool          // a timer has run out, and its interrupt may be on the way
	next  time.Duration // until the first timer that is set runs out; 0 if none is
}

// processors asks QEMU. Its QMP has no command for this, so the answers are texts for people.
func (m *Machine) processors(ctx context.Context) (p processors, err error) {
	if p.idle, err = m.idle(ctx); err != nil || !p.idle {
		return p, err
	}
	for cpu := range max(m.spec.CPUs, 1) {
		text, err := m.human(ctx, fmt.Sprintf("info lapic %d", cpu))
		if err != nil {
			return p, err
		}
		next, set, pending, err := parseAPIC(text)
		switch {
		case err != nil:
			return p, err
		case pending:
			p.idle = false
			return p, nil
		case set && next == 0:
			p.spent = true
		case set && (p.next == 0 || next < p.next):
			p.next = next
		}
	}
	return p, nil
}

// idle reports whether all of the guest's processors wait for an interrupt.
func (m *Machine) idle(ctx context.Context) (bool, error) {
	text, err := m.human(ctx, "info registers -a")
	if err != nil {
		return false, err
	}
	if !strings.Contains(text, "HLT=") {
		return false, unknownText("info registers", text)
	}
	return !strings.Contains(text, "HLT=0"), nil
}

// human runs a command of QEMU's monitor for people.
func (m *Machine) human(ctx context.Context, command string) (text string, err error) {
	err = m.monitor.Execute(ctx, "human-monitor-command", map[string]string{"command-line": command}, &text, nil)
	return text, err
}

func unknownText(command, text string) error {
	return fmt.Errorf("QEMU's monitor answered %q with %q, which is not understood", command, tail.Printable(text))
}

var (
	lapicTimer   = regexp.MustCompile(`divide by (\d+)\)\s+initial_count = (\d+)\s+current_count = (\d+)`)
	lapicRequest = regexp.MustCompile(`(?m)^IRR\s+(\(none\)|\d+)`)
)

// parseAPIC returns what "info lapic" prints of a local APIC: its timer, which counts
// nanoseconds divided by a number, and whether an interrupt is pending, such as that of a disk
// that was read until the guest stopped.
func parseAPIC(text string) (next time.Duration, set, pending bool, err error) {
	found, request := lapicTimer.FindStringSubmatch(text), lapicRequest.FindStringSubmatch(text)
	if found == nil || request == nil {
		return 0, false, false, unknownText("info lapic", text)
	}
	var n [3]int64
	for i := range n {
		if n[i], err = strconv.ParseInt(found[1+i], 10, 64); err != nil || n[i] > 1<<32 {
			return 0, false, false, unknownText("info lapic", text)
		}
	}
	return time.Duration(n[0] * n[2]), n[1] != 0, request[1] != "(none)", nil
}

// powerTimer returns whether a time since power-on is what the power-management timer of ACPI
// shows, as far as its 24 bits go.
func (m *Machine) powerTimer(ctx context.Context) (shows func(time.Duration) bool, err error) {
	const command = "i /w 0x608" // the port that the firmware gives it
	text, err := m.human(ctx, command)
	if err != nil {
		return nil, err
	}
	_, value, _ := strings.Cut(strings.TrimSpace(text), "= 0x")
	shown, err := strconv.ParseUint(value, 16, 32)
	if err != nil {
		return nil, unknownText(command, text)
	}
	return func(t time.Duration) bool {
		return (powerTicks(t)-uint32(shown)+1)&powerMask <= 2 // QEMU rounds
	}, nil
}

const powerMask = 1<<24 - 1

func powerTicks(t time.Duration) uint32 {
	const hz = 3579545
	return (uint32(t/time.Second)*hz + uint32(uint64(t%time.Second)*hz/uint64(time.Second))) & powerMask
}
