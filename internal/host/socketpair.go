package host

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// SocketPair returns the two ends of a connected stream socket, for processes to
// inherit. No third process can connect to it, as it has no address. name is that of
// both files. The caller closes both.
func SocketPair(name string) (a, b *os.File, err error) { return socketPair(name, unix.SOCK_STREAM) }

func socketPair(name string, kind int) (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make %s socket: %w", name, os.NewSyscallError("socketpair", err))
	}
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name), nil
}

// ConnPair is [SocketPair] for two ends in this process.
func ConnPair(name string) (a, b *net.UnixConn, err error) { return connPair(name, unix.SOCK_STREAM) }

// PacketPair is ConnPair for a socket that keeps packets apart (SOCK_SEQPACKET, unix(7)).
func PacketPair(name string) (a, b *net.UnixConn, err error) {
	return connPair(name, unix.SOCK_SEQPACKET)
}

func connPair(name string, kind int) (a, b *net.UnixConn, err error) {
	fileA, fileB, err := socketPair(name, kind)
	if err != nil {
		return nil, nil, err
	}
	a, errA := UnixConn(fileA)
	b, errB := UnixConn(fileB)
	if err := errors.Join(errA, errB); err != nil {
		if a != nil {
			a.Close()
		}
		if b != nil {
			b.Close()
		}
		return nil, nil, err
	}
	return a, b, nil
}

// UnixConn returns the connection of an end of a [SocketPair]. It closes the file,
// also if there is an error. The caller closes the connection.
func UnixConn(file *os.File) (*net.UnixConn, error) {
	defer file.Close() // FileConn duplicates the descriptor
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("use %s socket: %w", file.Name(), err)
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("use %s socket: it is %T, not a Unix socket", file.Name(), conn)
	}
	return unixConn, nil
}
