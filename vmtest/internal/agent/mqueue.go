package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// queue is a POSIX message queue (mq_overview(7)) that is open without blocking.
type queue struct {
	file *os.File
	attr queueAttr
}

// queueAttr is struct mq_attr.
type queueAttr struct {
	Flags, MaxMsg, MsgSize, CurMsgs int
	_                               [4]int
}

// forwardQueue sends one message to a queue, or one of a queue to a channel.
func (c *connection) forwardQueue(channel ssh.NewChannel, target wire.Dial) {
	var q *queue
	err := asUser(target.User, func() (err error) {
		q, err = openQueue(target.Address, target.Op)
		return err
	})
	if err == nil {
		defer q.file.Close()
		stop := context.AfterFunc(c.ctx, func() { _ = q.file.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		if target.Op == wire.WriteOp {
			err = q.send([]byte(target.Message))
		}
	}
	ch := c.accept(channel, target, err)
	if ch == nil {
		return
	}
	defer ch.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if target.Op == wire.ReadOp {
			q.forward(ch)
		}
		_ = ch.Close()
	}()
	for req := range ch.requests {
		_ = req.Reply(false, nil)
	}
	_ = q.file.SetDeadline(time.Unix(1, 0)) // the client has closed
	<-done
}

// forward sends the next message to a channel.
func (q *queue) forward(ch ssh.Channel) {
	message, err := q.receive()
	if err == nil && len(message) > wire.MaxPacket {
		err = unix.EMSGSIZE
	}
	if err == nil {
		err = wire.WritePacket(ch, message)
	} else if !errors.Is(err, os.ErrDeadlineExceeded) {
		err = wire.WriteFailure(ch, err)
	}
	_ = err // the client has left
}

// openQueue opens a queue for an operation, or for any if op is "".
func openQueue(name, op string) (*queue, error) {
	bare, ok := strings.CutPrefix(name, "/")
	if !ok || bare == "" || strings.Contains(bare, "/") {
		return nil, fmt.Errorf("%q is not the name of a message queue: want /NAME, with no other slash", name)
	}
	path, err := unix.BytePtrFromString(bare)
	if err != nil {
		return nil, err
	}
	modes := map[string][]int{wire.ReadOp: {unix.O_RDONLY}, wire.WriteOp: {unix.O_WRONLY}, "": {unix.O_WRONLY, unix.O_RDONLY}}[op]
	var fd uintptr
	errno := unix.EINVAL
	for _, mode := range modes {
		flags := mode | unix.O_NONBLOCK | unix.O_CLOEXEC
		if fd, _, errno = unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(path)), uintptr(flags), 0, 0, 0, 0); errno == 0 {
			break
		}
	}
	if errno != 0 {
		return nil, errno
	}
	q := &queue{file: os.NewFile(fd, name)}
	if _, _, errno := unix.Syscall(unix.SYS_MQ_GETSETATTR, fd, 0, uintptr(unsafe.Pointer(&q.attr))); errno != 0 {
		q.file.Close()
		return nil, os.NewSyscallError("mq_getattr", errno)
	}
	return q, nil
}

// send waits for room in the queue, for at most connectTimeout.
func (q *queue) send(message []byte) error {
	if len(message) > q.attr.MsgSize {
		return fmt.Errorf("%w: it has %d bytes, and the queue takes %d (MessageQueueMessageSize=)", unix.EMSGSIZE, len(message), q.attr.MsgSize)
	}
	raw, err := q.file.SyscallConn()
	if err != nil {
		return err
	}
	start := append(message, 0) // there is a first byte
	if err := q.file.SetWriteDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	var errno unix.Errno
	err = raw.Write(func(fd uintptr) bool {
		_, _, errno = unix.Syscall6(unix.SYS_MQ_TIMEDSEND, fd, uintptr(unsafe.Pointer(&start[0])), uintptr(len(message)), 0, 0, 0)
		return errno != unix.EAGAIN
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: the queue is full with %d messages (MessageQueueMaxMessages=), and no process took one within %v", unix.EAGAIN, q.attr.MaxMsg, connectTimeout)
	}
	if err == nil && errno != 0 {
		err = errno
	}
	return err
}

// receive waits for the next message.
func (q *queue) receive() ([]byte, error) {
	raw, err := q.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	message := make([]byte, max(q.attr.MsgSize, 1))
	var n uintptr
	var errno unix.Errno
	err = raw.Read(func(fd uintptr) bool {
		n, _, errno = unix.Syscall6(unix.SYS_MQ_TIMEDRECEIVE, fd, uintptr(unsafe.Pointer(&message[0])), uintptr(len(message)), 0, 0, 0)
		return errno != unix.EAGAIN
	})
	if err == nil && errno != 0 {
		err = errno
	}
	if err != nil {
		return nil, err
	}
	return message[:n], nil
}
