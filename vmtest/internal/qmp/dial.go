package qmp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/digitalocean/go-qemu/qmp"
	"golang.org/x/sys/unix"
)

// dialTimeout bounds each end of the connection to a socket on which this process itself
// listens.
const dialTimeout = 5 * time.Second

// connectMonitor makes a go-qemu monitor, which must dial, and returns it with the
// other end of its connection. The listener is abstract (unix(7)) and takes one
// connection of this process, so nothing is left in a file system.
func connectMonitor() (*qmp.SocketMonitor, *net.UnixConn, error) {
	name := "@systemd-vmtest-" + rand.Text()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, nil, fmt.Errorf("listen for QMP monitor: %w", err)
	}
	defer l.Close()
	monitor, err := qmp.NewSocketMonitor("unix", name, dialTimeout)
	if err != nil {
		return nil, nil, fmt.Errorf("connect QMP monitor: %w", err)
	}
	conn, err := acceptOwn(l)
	if err != nil {
		monitor.Disconnect()
		return nil, nil, fmt.Errorf("accept QMP monitor: %w", err)
	}
	return monitor, conn, nil
}

// acceptOwn accepts the first connection of this process and closes those before it.
func acceptOwn(l *net.UnixListener) (*net.UnixConn, error) {
	if err := l.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return nil, err
	}
	var refused error
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, errors.Join(err, refused)
		}
		if refused = fromThisProcess(conn); refused == nil {
			return conn, nil
		}
		conn.Close()
	}
}

// fromThisProcess returns an error unless the peer of conn is this process
// (SO_PEERCRED, unix(7)). An abstract socket has no owner, and any process on the
// host may connect to it.
func fromThisProcess(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if credErr != nil {
		return fmt.Errorf("read peer's credentials: %w", credErr)
	}
	if int(cred.Pid) != os.Getpid() {
		return fmt.Errorf("peer is process %d, not this process", cred.Pid)
	}
	return nil
}
