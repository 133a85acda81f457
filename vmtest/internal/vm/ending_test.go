package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// print makes the guest print text on its console, and waits until m has it.
func (f *fakeMachine) print(m *Machine, text string) {
	before := m.Console().Written()
	_, err := f.console.Write([]byte(text))
	require.NoError(f.t, err)
	require.Eventually(f.t, func() bool { return m.Console().Written() >= before+int64(len(text)) }, testTimeout, 1e6)
}

// Only QEMU's events decide how a guest ended. A unit can print on the console what the
// kernel and init print.
func TestEnding(t *testing.T) {
	const handOver = guest.HandOver + "\r\n"
	const panicText = "[    5.2] Kernel panic - not syncing: fake\r\n[    5.3] CPU: 0\r\n"
	for _, test := range []struct {
		name    string
		console string
		end     func(*fakeMachine)
		want    Ending
		says    string
	}{
		{"poweroff", handOver, powerOff, EndingPoweroff, "the guest powered off: QEMU exited"},
		{"reset", handOver, (*fakeMachine).reset, EndingReboot, "the guest rebooted: QEMU exited"},
		{"panic", handOver, panicked, EndingPanic, "the guest's kernel panicked: QEMU exited"},
		{"killed", handOver, func(f *fakeMachine) { f.exit(1, "oops") }, EndingKilled, "lost debian-13: QEMU exited: exit status 1; it printed: oops"},

		{"panic with its text", handOver + panicText, panicked, EndingPanic,
			`the guest's kernel panicked; the console shows: "Kernel panic - not syncing: fake": QEMU exited`},
		{"poweroff with a unit's text", handOver + panicText, powerOff, EndingPoweroff,
			`the guest powered off; the console shows: "Kernel panic - not syncing: fake": QEMU exited`},
		{"reset with a unit's text", handOver + panicText, (*fakeMachine).reset, EndingReboot,
			`the guest rebooted; the console shows: "Kernel panic - not syncing: fake": QEMU exited`},
		{"poweroff with init's text", handOver + guest.InitFailed + "fake\r\n", powerOff, EndingPoweroff,
			`the guest powered off; the console shows: "vmtest init: fake": QEMU exited`},
		{"reset before the image's programs", panicText, (*fakeMachine).reset, EndingReboot,
			"the guest's kernel panicked: fake: QEMU exited"},
		{"init failed", guest.InitFailed + "load module overlay: exec format error\r\n" + panicText, (*fakeMachine).reset, EndingReboot,
			"the guest's init stopped: load module overlay: exec format error: QEMU exited"},
		{"console cut", strings.Repeat("x\r\n", consoleKept) + panicText, (*fakeMachine).reset, EndingReboot,
			`the guest rebooted; the console shows: "Kernel panic - not syncing: fake": QEMU exited`},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newFakeHost(t)
			m, fake := h.bootFake()
			fake.print(m, test.console)
			test.end(fake)
			got, err := m.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, test.want, got, "how the guest ended")
			err = m.run(t.Context(), "true")
			require.ErrorAs(t, err, new(*GuestError))
			assert.ErrorContains(t, err, test.says)
		})
	}
}

func powerOff(f *fakeMachine) { f.end("guest-shutdown") }

// panicked plays the pvpanic device.
func panicked(f *fakeMachine) {
	f.event("GUEST_PANICKED", map[string]any{"action": "poweroff"})
	f.end("guest-panic")
}

// A fork's console begins in the middle, where a unit may have printed the first line.
func TestConsoleOfAFork(t *testing.T) {
	m := newMachine(someSpec(t), nil)
	m.resumed = true
	assert.Empty(t, m.bootLines([]string{panicLine + "fake"}))
}

// The ending of a QEMU that has exited is not known before its last event was read.
func TestEndingWithLateEvents(t *testing.T) {
	m := machineOf(t, "exit 0")
	<-m.Done()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	ending, err := m.Wait(ctx)
	assert.Empty(t, ending)
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	m.events.update(func(seen *events) { seen.shutdown = "guest-shutdown" })
	close(m.eventsDone)
	ending, err = m.Wait(t.Context())
	assert.NoError(t, err)
	assert.Equal(t, EndingPoweroff, ending)
}

// A wait that takes too long says how the guest is.
func TestEndingDoesNotCome(t *testing.T) {
	h := newFakeHost(t)
	m, _ := h.bootFake()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := m.Wait(ctx)
	assert.ErrorContains(t, err, "wait for the guest to go: context deadline exceeded; the agent answered in ")
}

// machineOf returns a machine without streams whose QEMU is a shell script.
func machineOf(t *testing.T, script string) *Machine {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "qemu")
	require.NoError(t, os.WriteFile(binary, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	process, err := qemu.Start(qemu.Machine{Arch: "amd64", Binary: binary, Memory: 512})
	require.NoError(t, err)
	t.Cleanup(process.Kill)
	m := newMachine(Spec{Files: someFiles()}, process)
	close(m.consoleDone)
	return m
}

// Of a console that reports a panic, the lines around that are shown, and else the last ones.
func TestConsoleEnd(t *testing.T) {
	var lines []string
	for i := range 30 {
		lines = append(lines, fmt.Sprint("line ", i))
	}
	assert.Equal(t, lines[25:], consoleEnd(lines, 5))
	assert.Equal(t, lines, consoleEnd(lines, 50))
	lines[10] = "[    1.0] Kernel panic - not syncing: x"
	assert.Equal(t, lines[6:23], consoleEnd(lines, 5))
}
