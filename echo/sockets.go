package echo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
)

// ErrNoSockets means that the service manager passed no sockets, neither by
// sd_listen_fds(3) nor on standard input.
var ErrNoSockets = errors.New("no sockets passed")

// StreamListener is a listener whose Accept can be interrupted by a deadline,
// as *net.TCPListener and *net.UnixListener are.
type StreamListener interface {
	net.Listener
	SetDeadline(t time.Time) error
}

// Listener is a listening stream or sequential packet socket. Name is its FileDescriptorName=, by default the
// name of the socket unit.
type Listener struct {
	StreamListener
	Name string
}

// Datagram is a bound datagram socket. Name is as for a [Listener].
type Datagram struct {
	net.PacketConn
	Name string
}

// Conn is an accepted connection. Name is that of the listener that accepted it or,
// with Accept=yes, the name that it was passed under.
type Conn struct {
	net.Conn
	Name string
}

// Sockets holds the sockets that a service manager passed: listeners and datagram
// sockets (Accept=no), with the connections that an earlier process has left in the
// file-descriptor store, or else one accepted connection (Accept=yes).
// [Server.Serve] closes them. A caller that does not serve them must call Close.
type Sockets struct {
	Listeners []Listener
	Datagrams []Datagram
	Stored    []Conn
	Conn      *Conn
}

// Close closes every socket. It leaves the socket files of AF_UNIX listeners,
// because they belong to the socket unit.
func (s Sockets) Close() error {
	var errs []error
	for _, l := range s.Listeners {
		errs = append(errs, l.Close())
	}
	for _, d := range s.Datagrams {
		errs = append(errs, d.Close())
	}
	for _, c := range s.Stored {
		errs = append(errs, c.Close())
	}
	if s.Conn != nil {
		errs = append(errs, s.Conn.Close())
	}
	return errors.Join(errs...)
}

// Inherited takes over the sockets that the service manager passed to this
// process: the descriptors of sd_listen_fds(3) or, if there are none, the socket
// on standard input (StandardInput=socket, inetd). If there are no sockets, the
// error is [ErrNoSockets]. Inherited unsets the LISTEN_* variables, so call it
// only once.
func Inherited() (Sockets, error) {
	// activation.ListenersWithNames would drop connections.
	listenPID := os.Getenv("LISTEN_PID")
	if files := activation.Files(true); len(files) > 0 {
		return Sort(files)
	}
	if isSocket(os.Stdin) {
		return fromStdin()
	}
	if listenPID != "" {
		return Sockets{}, fmt.Errorf("take descriptors: %w: LISTEN_PID is %s, this process is %d",
			ErrNoSockets, listenPID, os.Getpid())
	}
	return Sockets{}, fmt.Errorf("take descriptors: %w", ErrNoSockets)
}

// Sort sorts files by SO_TYPE and SO_ACCEPTCONN (socket(7)), and connections by
// name: those from the file-descriptor store have the name that [Server.Serve] has
// given them. The sockets keep the names of the files. Sort always closes files.
//
// It returns an error for a file that is not a stream, datagram or sequential packet
// socket of AF_INET, AF_INET6 or AF_UNIX, and for a connection that is neither
// stored nor the only file.
func Sort(files []*os.File) (Sockets, error) {
	defer func() {
		for _, f := range files {
			// The sockets use duplicates.
			_ = f.Close()
		}
	}()
	var sockets Sockets
	for i, f := range files {
		if err := sockets.add(f, len(files)); err != nil {
			return Sockets{}, errors.Join(fmt.Errorf("sort descriptor %d of %d (%s): %w", i+1, len(files), f.Name(), err), sockets.Close())
		}
	}
	return sockets, nil
}

func (s *Sockets) add(f *os.File, total int) error {
	kind, listening, err := inspect(f)
	switch {
	case err != nil:
		return err
	case kind == syscall.SOCK_DGRAM:
		conn, err := net.FilePacketConn(f)
		if err != nil {
			return fmt.Errorf("open datagram socket: %w", err)
		}
		s.Datagrams = append(s.Datagrams, Datagram{PacketConn: conn, Name: f.Name()})
		return nil
	case listening:
		return s.addListener(f)
	}
	listener, stored := strings.CutPrefix(f.Name(), storedPrefix)
	if total > 1 && !stored {
		return errors.New("accepted connection among several descriptors; pass it alone (Accept=yes)")
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return fmt.Errorf("open connection: %w", err)
	}
	if stored {
		_, listener, _ = strings.Cut(listener, "-")
		s.Stored = append(s.Stored, Conn{Conn: conn, Name: listener})
		return nil
	}
	s.Conn = &Conn{Conn: conn, Name: f.Name()}
	return nil
}

func (s *Sockets) addListener(f *os.File) error {
	l, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("open listener: %w", err)
	}
	stream, ok := l.(StreamListener)
	if !ok {
		return errors.Join(fmt.Errorf("open listener: %T takes no deadline", l), l.Close())
	}
	s.Listeners = append(s.Listeners, Listener{StreamListener: stream, Name: f.Name()})
	return nil
}

// fromStdin takes the socket from standard input. It replaces the socket with
// /dev/null in descriptors 0 to 2, so that later output cannot reach the client.
func fromStdin() (Sockets, error) {
	fd, err := syscall.Dup(0)
	if err != nil {
		return Sockets{}, fmt.Errorf("duplicate standard input: %w", err)
	}
	syscall.CloseOnExec(fd)
	socket := os.NewFile(uintptr(fd), "stdin")
	if err := silence(socket); err != nil {
		return Sockets{}, errors.Join(err, socket.Close())
	}
	return Sort([]*os.File{socket})
}

// silence replaces those of descriptors 0 to 2 that are socket with /dev/null.
func silence(socket *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open null device: %w", err)
	}
	defer func() { _ = null.Close() }()
	want, err := socket.Stat()
	if err != nil {
		return fmt.Errorf("stat standard input: %w", err)
	}
	for fd, std := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		have, err := std.Stat()
		if err != nil || !os.SameFile(want, have) {
			continue
		}
		if err := syscall.Dup3(int(null.Fd()), fd, 0); err != nil {
			return fmt.Errorf("replace descriptor %d: %w", fd, err)
		}
	}
	return nil
}
