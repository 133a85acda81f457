package echo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// inspect returns the type of the socket f, such as SOCK_STREAM, and whether it is
// listening. net.FileListener cannot be used to find out: it accepts a connection
// and fails only in Accept.
func inspect(f *os.File) (kind int, listening bool, err error) {
	domain, err := sockopt(f, syscall.SO_DOMAIN)
	if errors.Is(err, syscall.ENOTSOCK) {
		return 0, false, errors.New("not a socket; " + needSocket)
	}
	if err != nil {
		return 0, false, fmt.Errorf("get SO_DOMAIN: %w", err)
	}
	if kind, err = sockopt(f, syscall.SO_TYPE); err != nil {
		return 0, false, fmt.Errorf("get SO_TYPE: %w", err)
	}
	switch kind {
	case syscall.SOCK_STREAM, syscall.SOCK_DGRAM, syscall.SOCK_SEQPACKET:
	case syscall.SOCK_RAW:
		return 0, false, errors.New("raw socket; " + needSocket)
	default:
		return 0, false, fmt.Errorf("socket of type %d; %s", kind, needSocket)
	}
	switch domain {
	case syscall.AF_INET, syscall.AF_INET6, syscall.AF_UNIX:
	default:
		return 0, false, fmt.Errorf("address family %d; need AF_INET, AF_INET6 or AF_UNIX", domain)
	}
	accepts, err := sockopt(f, syscall.SO_ACCEPTCONN)
	if err != nil {
		return 0, false, fmt.Errorf("get SO_ACCEPTCONN: %w", err)
	}
	return kind, accepts != 0, nil
}

// needSocket ends the error for a descriptor of another kind.
const needSocket = "need a socket of ListenStream=, ListenSequentialPacket= or ListenDatagram="

func isSocket(f *os.File) bool {
	_, err := sockopt(f, syscall.SO_TYPE)
	return err == nil
}

func sockopt(f syscall.Conn, option int) (value int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := raw.Control(func(fd uintptr) {
		value, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, option)
	}); cerr != nil {
		return 0, cerr
	}
	return value, err
}

// peerName returns the client's address. AF_UNIX clients rarely have one, so for
// them it returns the process and user (SO_PEERCRED, unix(7)).
func peerName(conn net.Conn) string {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		if addr := conn.RemoteAddr(); addr != nil {
			return addr.String()
		}
		return "unknown" // the client has disconnected
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return "unknown"
	}
	var cred *syscall.Ucred
	cerr := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if cerr != nil || err != nil {
		return "unknown"
	}
	return fmt.Sprintf("pid=%d,uid=%d", cred.Pid, cred.Uid)
}
