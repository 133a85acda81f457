package vm

import (
	"bufio"
	"io"

	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// servePID1 plays the agent of a fork, which waits at the port of the connection to PID 1.
func (m *fakeMachine) servePID1() {
	m.mu.Lock()
	conn := m.pid1Port
	m.mu.Unlock()
	some, err := guest.WakeFrame(guest.Wake{Seed: string(make([]byte, guest.SeedSize))})
	if err != nil {
		return
	}
	if _, err := io.ReadFull(conn, some); err != nil {
		return
	}
	if m.leavesPID1 {
		m.closePID1()
		return
	}
	if m.refusesWake {
		conn.Write([]byte("\x07\x00not now"))
		return
	}
	conn.Write([]byte{0, 0})
	m.agent.answerPID1(portWriter{conn, m}, bufio.NewReader(conn))
	m.closePID1()
}

// closePID1 plays the agent that closes its port. QEMU keeps the stream open.
func (m *fakeMachine) closePID1() {
	m.pid1Closed.Store(true)
	m.event("VSERPORT_CHANGE", map[string]any{"id": qemu.SystemdID, "open": false})
}

// portWriter is the port of PID 1 while the agent has it open.
type portWriter struct {
	io.Writer
	m *fakeMachine
}

func (w portWriter) Write(p []byte) (int, error) {
	if w.m.pid1Closed.Load() {
		return 0, io.ErrClosedPipe
	}
	return w.Writer.Write(p)
}

func (m *fakeMachine) unplugPID1() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pid1Port.Close()
}
