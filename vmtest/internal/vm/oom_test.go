package vm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/link"
)

func TestOutOfMemory(t *testing.T) {
	h := newFakeHost(t)
	m, fake := h.bootFake()
	assert.Empty(t, m.OutOfMemory(t.Context(), Mark{}))

	// Facility and text are the kernel's. The name in it is not.
	fake.setKernelLog(
		"Out of memory: Killed process 181 (dbus-daemon) total-vm:432504kB",
		"Memory cgroup out of memory: Killed process 182 (a) \\x1b[31mb) total-vm:1kB",
		"something else", "something else")
	assert.Equal(t, `the guest's kernel killed process 182 (a) \x1b[31mb) for lack of memory in its control group`, m.OutOfMemory(t.Context(), Mark{}))
	since := m.Mark()
	since.at = since.at.Add(-4 * time.Second)
	assert.Contains(t, m.OutOfMemory(t.Context(), since), "process 182")
	assert.Empty(t, m.OutOfMemory(t.Context(), m.Mark()), "it was killed before")
	since = m.Mark()
	m.clock.advanced.Add(int64(time.Hour))
	assert.Contains(t, m.OutOfMemory(t.Context(), since), "process 182", "of the hour since then")
}

// What a unit prints on the console is not the kernel's word.
func TestOutOfMemoryOnTheConsole(t *testing.T) {
	h := newFakeHost(t)
	m, fake := h.bootFake()
	const fakeText = "[   12.3] Out of memory: Killed process 7 (fake) total-vm:1kB"
	fake.print(m, fakeText+"\r\n")
	assert.Empty(t, m.OutOfMemory(t.Context(), Mark{}), "the kernel's log has no such record")
	fake.agent.die()
	assert.Equal(t, `the console shows: "Out of memory: Killed process 7 (fake)"`, m.OutOfMemory(t.Context(), Mark{}))
	assert.Empty(t, m.OutOfMemory(t.Context(), m.Mark()))
}

func TestLastVictimOnTheConsole(t *testing.T) {
	assert.Empty(t, quoteVictim([]byte("Debian GNU/Linux 13 localhost ttyS0\r\n")))
	assert.Equal(t, `the console shows: "Memory cgroup out of memory: Killed process 182 (tail)"`, quoteVictim([]byte(
		"[   12.1] Out of memory: Killed process 181 (dbus-daemon) total-vm:432504kB\r\n"+
			"[   12.3] Memory cgroup out of memory: Killed process 182 (tail) total-vm:1kB\r\n")))
}

// A fork is not blamed for what was killed before it began, as while a template was
// prepared.
func TestOutOfMemoryBeforeAFork(t *testing.T) {
	h := newFakeHost(t)
	m, err := fakeSnapshot(t, deviceState, link.Handshake{}).Fork(t.Context(), someInstance())
	require.NoError(t, err)
	defer m.Close()
	fake := <-h.machines
	const record = "Out of memory: Killed process 7 (tail) total-vm:1kB"
	fake.setKernelLog(append([]string{record}, make([]string, 600)...)...)
	assert.Empty(t, m.Examine().Victim)
	m.events.update(func(seen *events) { seen.resumed = seen.resumed.Add(-2 * time.Second) })
	fake.setKernelLog(append(make([]string, 600), record)...)
	assert.Contains(t, m.Examine().Victim, "killed process 7 (tail)")
}
