package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// forwardFIFO connects a channel to one end of a FIFO.
func (c *connection) forwardFIFO(channel ssh.NewChannel, target wire.Dial) {
	var fifo *os.File
	err := asUser(target.User, func() (err error) {
		fifo, err = openFIFO(target.Address, target.Op)
		return err
	})
	ch := c.accept(channel, target, err)
	if fifo == nil {
		return
	}
	defer fifo.Close()
	if ch == nil {
		return
	}
	defer ch.Close()
	var tasks sync.WaitGroup
	sent := make(chan struct{})
	tasks.Go(func() {
		defer close(sent)
		if target.Op == wire.WriteOp {
			_, _ = io.CopyBuffer(struct{ io.Writer }{fifo}, ch, make([]byte, wire.MaxData))
		} else if _, err := io.CopyBuffer(ch, fifoReader{fifo}, make([]byte, wire.MaxData)); err == nil {
			_ = fifo.Close() // before the client sees the end: the next writer waits for the next reader
			_ = ch.CloseWrite()
		}
		_ = ch.Close()
	})
	for req := range ch.requests {
		_ = req.Reply(false, nil)
	}
	// The client has closed. What it sent before is still delivered.
	_ = fifo.SetReadDeadline(time.Unix(1, 0))
	_ = fifo.SetWriteDeadline(time.Now().Add(lingerTimeout))
	<-sent
	tasks.Wait()
}

// accepted is a channel that was accepted.
type accepted struct {
	ssh.Channel
	requests <-chan *ssh.Request
}

// accept accepts a channel, or rejects it because of err. It returns nil if there is none.
func (c *connection) accept(channel ssh.NewChannel, target wire.Dial, err error) *accepted {
	if err != nil {
		reject(channel, err)
		return nil
	}
	ch, requests, err := channel.Accept()
	if err != nil {
		c.log.Debug("accept forwarding", "network", target.Network, "address", target.Address, "err", err)
		return nil
	}
	return &accepted{ch, requests}
}

// openFIFO opens an end of a FIFO without waiting for the other one. Without an operation, it
// only looks whether there is a FIFO, and returns nil.
func openFIFO(path, op string) (*os.File, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return nil, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil, errors.New("this is not a FIFO")
	}
	flags := unix.O_RDONLY
	switch op {
	case "":
		return nil, nil
	case wire.WriteOp:
		flags = unix.O_WRONLY
	}
	fd, err := unix.Open(path, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENXIO) {
		return nil, fmt.Errorf("%w: no process has the FIFO open for reading", err)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// fifoReader waits for the first writer of a FIFO. Its data end with the last one.
type fifoReader struct{ fifo *os.File }

func (r fifoReader) Read(p []byte) (n int, err error) {
	raw, err := r.fifo.SyscallConn()
	if err != nil {
		return 0, err
	}
	failure := raw.Read(func(fd uintptr) bool {
		for {
			n, err = unix.Read(int(fd), p)
			if errors.Is(err, unix.EAGAIN) {
				return false
			}
			if n > 0 || err != nil {
				return true
			}
			// The kernel reports the end only after a writer has been there, who may
			// have come and gone since the read.
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if _, err = unix.Poll(poll, 0); err != nil {
				return true
			}
			switch {
			case poll[0].Revents&unix.POLLIN != 0:
				continue
			case poll[0].Revents&unix.POLLHUP != 0:
				err = io.EOF
				return true
			}
			return false
		}
	})
	if failure != nil {
		return 0, failure
	}
	return max(n, 0), err
}
