package qmp

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// maxLine bounds one message from QEMU. go-qemu's own bound is 64 KiB, and it
// gives up the monitor when a message is longer.
const maxLine = 64 << 10

// filter stands between QEMU and go-qemu's monitor and lets through to the
// monitor what it can take: the greeting and the answers to its commands. It
// keeps the events for itself. go-qemu reuses the buffer of an answer as soon as
// the next message arrives, stops for ever when nobody takes an event, and takes
// an event during its handshake for the answer; with one message at a time, each
// asked for, none of that can happen.
type filter struct {
	qemu    *net.UnixConn // QEMU's monitor
	monitor *net.UnixConn // the monitor's connection, our end
	events  chan Event
	ended   chan struct{} // closed before the monitor can notice the end
}

// run copies until either side closes, then closes both and the events.
func (f *filter) run() error {
	up := make(chan error, 1)
	go func() {
		up <- f.commands()
		f.qemu.Close()
	}()
	err := f.answers()
	close(f.ended)
	f.monitor.Close()
	f.qemu.Close()
	close(f.events)
	return errors.Join(err, <-up)
}

// answers copies what QEMU says, line by line, less the events.
func (f *filter) answers() error {
	r := bufio.NewReaderSize(f.qemu, maxLine)
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
		var event Event
		if err := json.Unmarshal(line, &event); err != nil {
			return fmt.Errorf("parse QMP message %q: %w", line, err)
		}
		if event.Event != "" {
			f.events <- event
			continue
		}
		if _, err := f.monitor.Write(line); err != nil {
			return nil // the monitor was closed
		}
	}
}

// commands copies what the monitor says, together with descriptors passed along.
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
