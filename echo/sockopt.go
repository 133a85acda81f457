package echo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// inspect reports whether the stream socket f is listening, rather than a
// connection. net.FileListener cannot be used to find out: it accepts a connection
// and fails only in Accept.
func inspect(f *os.File) (listening bool, err error) {
	domain, err := sockopt(f, syscall.SO_DOMAIN)
	if errors.Is(err, syscall.ENOTSOCK) {
		return false, errors.New("not a socket; need a stream socket (ListenStream=)")
	}
	if err != nil {
		return false, fmt.Errorf("get SO_DOMAIN: %w", err)
	}
	kind, err := sockopt(f, syscall.SO_TYPE)
	if err != nil {
		return false, fmt.Errorf("get SO_TYPE: %w", err)
	}
	if kind != syscall.SOCK_STREAM {
		return false, fmt.Errorf("%s socket; need a stream socket (ListenStream=)", typeName(kind))
	}
	switch domain {
	case syscall.AF_INET, syscall.AF_INET6, syscall.AF_UNIX:
	default:
		return false, fmt.Errorf("address family %d; need AF_INET, AF_INET6 or AF_UNIX", domain)
	}
	accepts, err := sockopt(f, syscall.SO_ACCEPTCONN)
	if err != nil {
		return false, fmt.Errorf("get SO_ACCEPTCONN: %w", err)
	}
	return accepts != 0, nil
}

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

func typeName(kind int) string {
	switch kind {
	case syscall.SOCK_DGRAM:
		return "datagram"
	case syscall.SOCK_SEQPACKET:
		return "sequential packet"
	case syscall.SOCK_RAW:
		return "raw"
	}
	return fmt.Sprintf("type %d", kind)
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
