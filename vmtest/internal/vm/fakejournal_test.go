package vm

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/link/wire"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// fakeJournal plays journald, and journalctl at its port.
type fakeJournal struct {
	mu      sync.Mutex
	conn    net.Conn
	open    bool
	started []string // the cursors of the JournalRequests
	entries []string
	sent    int           // entries that journalctl has written
	held    bool          // journalctl writes nothing until a request for the tails
	down    int           // how many more connections journald refuses
	refuses string        // the error of each Synchronize
	fault   string        // with it journalctl ends at once
	deaf    bool          // the answer to a request to start is lost
	mute    bool          // journalctl does not go on after a request for the tails
	asked   chan struct{} // gets a value at each, if not nil
	lingers bool          // the stream stays open when QEMU has gone, or has another
}

// log adds an entry, which has the next number.
func (j *fakeJournal) log(message string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := len(j.entries) + 1
	j.entries = append(j.entries, fmt.Sprintf("__CURSOR=s=1;i=%x;b=b\n__REALTIME_TIMESTAMP=1\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=b\nMESSAGE=%s\n\n", n, n, message))
	if !j.held {
		j.flush()
	}
}

// skip adds an entry that journalctl does not write to the stream.
func (j *fakeJournal) skip(message string) {
	j.set(func(j *fakeJournal) { j.held = true })
	j.log(message)
	j.set(func(j *fakeJournal) { j.held, j.sent = false, len(j.entries) })
}

// flush writes what has not been written.
func (j *fakeJournal) flush() {
	for j.open && j.sent < len(j.entries) {
		if _, err := io.WriteString(j.conn, j.entries[j.sent]); err != nil {
			return
		}
		j.sent++
	}
}

// plug replaces the stream behind the port.
func (j *fakeJournal) plug(conn net.Conn) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.conn != nil && !j.lingers {
		j.conn.Close()
	}
	j.conn = conn
}

// start answers a guest.JournalRequest. The stream begins with the cursor's entry.
func (j *fakeJournal) start(payload []byte) (bool, []byte) {
	var start guest.JournalStart
	if ssh.Unmarshal(payload, &start) != nil {
		return false, []byte("bad request")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.open {
		return false, []byte("the port is busy")
	}
	j.started = append(j.started, start.Cursor)
	j.open, j.sent = true, 0
	for i, e := range j.entries {
		if start.Cursor != "" && strings.Contains(e, start.Cursor+"\n") {
			j.sent = i
		}
	}
	if !j.held && j.fault == "" {
		j.flush()
	}
	if j.deaf {
		j.deaf = false
		return false, []byte("lost")
	}
	return true, nil
}

// tails answers a guest.JournalTailsRequest, after which journalctl goes on.
func (j *fakeJournal) tails() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) == 0 {
		return nil
	}
	if j.asked != nil {
		j.asked <- struct{}{}
	}
	if !j.mute {
		time.AfterFunc(20*time.Millisecond, func() { j.set((*fakeJournal).flush) })
	}
	return []byte(wire.Pack([]string{"1", fmt.Sprint(len(j.entries))}))
}

// absent reports whether journald refuses a connection.
func (j *fakeJournal) absent() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.down--
	return j.down >= 0
}

// synchronize answers a call.
func (j *fakeJournal) synchronize(ch io.ReadWriter) {
	call, err := bufio.NewReader(ch).ReadString(0)
	if err != nil {
		return
	}
	j.mu.Lock()
	refuses := j.refuses
	j.mu.Unlock()
	switch {
	case call != `{"method":"io.systemd.Journal.Synchronize"}`+"\x00":
		io.WriteString(ch, `{"error":"org.varlink.service.MethodNotFound"}`+"\x00")
	case refuses != "":
		io.WriteString(ch, refuses+"\x00")
	default:
		io.WriteString(ch, `{"parameters":{}}`+"\x00")
	}
}

// starts returns the cursors that journalctl was started with.
func (j *fakeJournal) starts() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.started...)
}

// logged returns the entries.
func (j *fakeJournal) logged() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.entries...)
}

// resume continues in a fork, in which journalctl has written these entries.
func (j *fakeJournal) resume(entries []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries, j.sent, j.open = entries, len(entries), true
}

// killJournal ends journalctl.
func (m *fakeMachine) killJournal() bool {
	m.journal.mu.Lock()
	open := m.journal.open
	m.journal.open = false
	m.journal.mu.Unlock()
	if open {
		m.event("VSERPORT_CHANGE", map[string]any{"id": qemu.JournalID, "open": false})
	}
	return open
}

// endJournal answers a guest.JournalEndRequest.
func (m *fakeMachine) endJournal() guest.JournalEnd {
	if m.killJournal() {
		return guest.JournalEnd{Stopped: true}
	}
	m.journal.mu.Lock()
	defer m.journal.mu.Unlock()
	return guest.JournalEnd{Cause: m.journal.fault}
}

// fails reports whether journalctl ends at once.
func (j *fakeJournal) fails() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fault != ""
}

// set changes what j does.
func (j *fakeJournal) set(change func(*fakeJournal)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(j)
}
