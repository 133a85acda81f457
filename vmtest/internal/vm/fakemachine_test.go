package vm

import (
	"encoding/json"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// testTimeout bounds what is expected to happen soon.
const testTimeout = 10 * time.Second

// deviceState is what a fake machine writes in a migration, and accepts in one.
const deviceState = "the state of all devices"

// fakeMachine plays one QEMU and its guest.
type fakeMachine struct {
	t                      *testing.T
	host                   *fakeHost
	args                   []string
	control                *net.UnixConn
	monitor, link, console *net.UnixConn
	pid1Port               *net.UnixConn

	// on replaces the answers to QMP commands. An error of an answer goes to the host.
	on map[string]func(arguments json.RawMessage) (any, error)
	// command replaces the effect of a command in the guest. It returns an exit status.
	command func(args []string) int
	// stderr is what each command that fails prints.
	stderr string
	// pid1 replaces the state of the guest's systemd. It may block.
	pid1 func() string
	// elapses is when the guest's only timer does.
	elapses time.Time
	// kernelLog are the texts of the kernel's log.
	kernelLog []string
	// mute makes the monitor silent.
	mute bool
	// refusesWake makes the agent refuse to wake the guest.
	refusesWake bool
	// leavesPID1 makes the agent close the port of PID 1 instead of waking the guest.
	leavesPID1 bool
	// pid1Closed is set when the agent has closed that port.
	pid1Closed atomic.Bool
	// dials counts the connections to PID 1 that the agent has made.
	dials atomic.Int32
	// refusesState makes the machine fail to load any state.
	refusesState bool
	// closesPort makes the agent close its port as soon as it has opened it.
	closesPort atomic.Bool
	// silentAgent makes the agent send nothing.
	silentAgent bool

	agent   *fakeAgent
	journal fakeJournal
	stopped *fakeSession // of the machine that was stopped last when this one began

	// hung has what the guest was asked and never answers: "dial" of silentSocket,
	// "subsystem" for files, "StartUnit".
	hung chan string

	mu           sync.Mutex
	files        map[string]*os.File // by getfd
	asked        []string            // names of the commands so far
	rebootAction string
	failure      string // of the last migration
	left         bool
	writing      sync.Mutex // of the monitor
}

func newFakeMachine(h *fakeHost, control *net.UnixConn) *fakeMachine {
	m := &fakeMachine{
		t:            h.t,
		host:         h,
		stopped:      h.saved(),
		control:      control,
		on:           map[string]func(json.RawMessage) (any, error){},
		command:      func([]string) int { return 0 },
		pid1:         func() string { return "running" },
		elapses:      time.Now().Add(time.Hour),
		files:        map[string]*os.File{},
		hung:         make(chan string, 16),
		rebootAction: "shutdown", // -no-reboot
	}
	m.agent = &fakeAgent{machine: m}
	return m
}

// silentSocket is a socket in the guest that accepts no connection.
const silentSocket = "/silent"

// hang notes a request that gets no answer.
func (m *fakeMachine) hang(what string) { m.hung <- what }

// setPID1 replaces pid1 while the machine runs.
func (m *fakeMachine) setPID1(pid1 func() string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pid1 = pid1
}

// replace replaces the answer to a QMP command while the machine runs.
func (m *fakeMachine) replace(name string, play func(json.RawMessage) (any, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.on[name] = play
}

// action returns what QEMU does when the guest resets itself.
func (m *fakeMachine) action() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rebootAction
}

// setCommand replaces command while the machine runs.
func (m *fakeMachine) setCommand(command func([]string) int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.command = command
}

// setKernelLog replaces kernelLog while the machine runs.
func (m *fakeMachine) setKernelLog(texts ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kernelLog = texts
}

// incoming reports whether the machine waits for a migration.
func (m *fakeMachine) incoming() bool {
	for _, arg := range m.args {
		if arg == "-incoming" {
			return true
		}
	}
	return false
}

// private reports whether the machine is a fork.
func (m *fakeMachine) private() bool {
	return strings.Contains(strings.Join(m.args, " "), "share=off")
}

// boot makes the guest's agent come up on the link.
func (m *fakeMachine) boot() {
	m.openPort()
	if !m.silentAgent {
		m.agent.connect(m.link)
	}
}

// openPort plays the agent that opens its end of the link. Then it may close it at once.
func (m *fakeMachine) openPort() {
	m.port(true)
	if m.closesPort.Load() {
		m.port(false)
	}
}

// port plays the agent that opens or closes its end of the link.
func (m *fakeMachine) port(open bool) {
	m.event("VSERPORT_CHANGE", map[string]any{"id": qemu.LinkID, "open": open})
}

// event sends an event.
func (m *fakeMachine) event(name string, data map[string]any) {
	now := time.Now()
	m.say(map[string]any{
		"event": name, "data": data,
		"timestamp": map[string]int64{"seconds": now.Unix(), "microseconds": int64(now.Nanosecond() / 1000)},
	})
}

func (m *fakeMachine) say(message any) {
	line, err := json.Marshal(message)
	assert.NoError(m.t, err)
	m.writing.Lock()
	defer m.writing.Unlock()
	m.monitor.Write(append(line, "\r\n"...)) // the host may have gone
}

// end is the end of the guest as QEMU reports it.
func (m *fakeMachine) end(reason string) {
	m.event("SHUTDOWN", map[string]any{"guest": true, "reason": reason})
	m.exit(0, "")
}

// reset plays a guest that resets itself.
func (m *fakeMachine) reset() {
	m.mu.Lock()
	action := m.rebootAction
	m.mu.Unlock()
	m.killJournal()
	m.agent.die()
	if action != "reset" {
		m.end("guest-reset")
		return
	}
	m.event("RESET", map[string]any{"guest": true, "reason": "guest-reset"})
	m.openPort()
}

// softReboot plays a guest whose user space reboots.
func (m *fakeMachine) softReboot() {
	m.killJournal()
	m.agent.die()
	m.port(true)
}

// exit ends QEMU.
func (m *fakeMachine) exit(status int, stderr string) {
	if m.closeStreams() {
		json.NewEncoder(m.control).Encode(map[string]any{"status": status, "stderr": stderr})
	}
}

// kill ends QEMU by a signal.
func (m *fakeMachine) kill(signal syscall.Signal) {
	raw, err := m.control.SyscallConn()
	if !assert.NoError(m.t, err) || !m.closeStreams() {
		return
	}
	raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if assert.NoError(m.t, err) {
			assert.NoError(m.t, unix.Kill(int(peer.Pid), signal))
		}
	})
}

// closeStreams closes QEMU's streams, which end before its process does. It reports whether
// they were open.
func (m *fakeMachine) closeStreams() bool {
	m.mu.Lock()
	left := m.left
	m.left = true
	m.mu.Unlock()
	if left {
		return false
	}
	m.monitor.Close()
	m.console.Close()
	m.unplugPID1()
	m.journal.plug(nil)
	m.agent.die()
	m.agent.unplug()
	m.link.Close()
	return true
}

// leave ends the machine with the test.
func (m *fakeMachine) leave() {
	m.exit(0, "")
	m.control.Close()
}

// commands returns the QMP commands so far.
func (m *fakeMachine) commands() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.asked...)
}
