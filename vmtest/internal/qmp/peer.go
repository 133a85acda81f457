package qmp

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// fromThisProcess checks that the peer of conn is this process (SO_PEERCRED,
// unix(7)): an abstract socket has no owner that would keep others away.
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
		return fmt.Errorf("process %d connected to this process's private socket", cred.Pid)
	}
	return nil
}
