package qmp

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxLine bounds one message from QEMU, in bytes. go-qemu's own bound is the same, and
// it gives up the monitor if a message is longer.
const maxLine = 64 << 10

// filter stands between QEMU and go-qemu's monitor. It passes to the monitor only the
// greeting and the answer to the command that waits for one, and keeps the events.
//
// go-qemu has no request IDs, reuses the buffer of an answer when the next message
// arrives, stops forever if nobody takes an event, and takes an event in its
// handshake for the answer. With one expected message at a time none of that happens.
type filter struct {
	qemu    *net.UnixConn // QEMU's monitor
	monitor *net.UnixConn // the monitor's connection, our end
	events  chan Event
	ended   chan struct{} // closed before the monitor can notice the end

	mu       sync.Mutex
	greeted  bool   // a command has an ID from now on
	expected string // ID of the command that has no answer yet, or ""
}

func newFilter(qemu, monitor *net.UnixConn) *filter {
	return &filter{
		qemu:    qemu,
		monitor: monitor,
		events:  make(chan Event, 64),
		ended:   make(chan struct{}),
	}
}

// expect makes the filter pass the next answer that has this ID, once.
func (f *filter) expect(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.greeted, f.expected = true, id
}

// passes reports whether a message without an event is for the monitor.
func (f *filter) passes(m message) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.greeted { // greeting and handshake
		return true
	}
	if f.expected == "" {
		return false
	}
	// QEMU leaves the ID out of an error if it could not parse the command.
	unparsed := m.ID == nil && m.Error != nil
	if m.ID != f.expected && !unparsed {
		return false
	}
	f.expected = ""
	return true
}

// message is a message from QEMU.
type message struct {
	Event
	ID    any             `json:"id"`
	Error json.RawMessage `json:"error"`
}

// run copies until either side closes, then closes both and the events.
func (f *filter) run() error {
	up := make(chan error, 1)
	go func() {
		up <- f.commands()
		f.qemu.Close()
	}()
	err := f.answers(f.qemu)
	close(f.ended)
	f.monitor.Close()
	f.qemu.Close()
	close(f.events)
	return errors.Join(err, <-up)
}

// answers passes QEMU's messages on, line by line.
func (f *filter) answers(qemu io.Reader) error {
	r := bufio.NewReaderSize(qemu, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("read QMP: message of more than %d bytes", maxLine)
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, unix.ECONNRESET):
			return nil
		case err != nil:
			return fmt.Errorf("read QMP: %w", err)
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("parse QMP message %q: %w", line, err)
		}
		if m.Event.Event != "" {
			f.events <- m.Event
			continue
		}
		if !f.passes(m) {
			continue
		}
		if _, err := f.monitor.Write(line); err != nil {
			return nil // the monitor was closed
		}
	}
}

// commands copies the monitor's commands, together with the descriptors that are passed
// along.
func (f *filter) commands() error {
	buf := make([]byte, maxLine)
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := f.monitor.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			return nil // the monitor was closed
		}
		if err := f.forward(buf[:n], oob[:oobn]); err != nil {
			return err
		}
	}
}

func (f *filter) forward(msg, oob []byte) error {
	if len(oob) == 0 {
		if _, err := f.qemu.Write(msg); err != nil {
			return fmt.Errorf("write QMP: %w", err)
		}
		return nil
	}
	fds, err := receivedFiles(oob)
	if err != nil {
		return err
	}
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	if _, _, err := f.qemu.WriteMsgUnix(msg, unix.UnixRights(fds...), nil); err != nil {
		return fmt.Errorf("pass descriptor over QMP: %w", err)
	}
	return nil
}

func receivedFiles(oob []byte) ([]int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("parse control message: %w", err)
	}
	var fds []int
	for _, m := range msgs {
		got, err := unix.ParseUnixRights(&m)
		if err != nil {
			return nil, os.NewSyscallError("parse unix rights", err)
		}
		fds = append(fds, got...)
	}
	return fds, nil
}
