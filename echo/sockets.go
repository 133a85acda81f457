package echo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
)

// ErrNoSockets says that nothing was passed: neither descriptors by
// sd_listen_fds(3) nor a socket on standard input.
var ErrNoSockets = errors.New("no sockets passed")

// StreamListener is a listener whose Accept can be interrupted by a deadline,
// as *net.TCPListener and *net.UnixListener are.
type StreamListener interface {
	net.Listener
	SetDeadline(t time.Time) error
}

// Listener is a listening socket and the name that FileDescriptorName= (or its
// default, the name of the socket unit) gave it.
type Listener struct {
	StreamListener
	Name string
}

// Conn is an accepted connection and the name that it was passed under.
type Conn struct {
	net.Conn
	Name string
}

// Sockets are the stream sockets that a service manager passed: listeners
// (Accept=no) or one accepted connection (Accept=yes), never both.
// [Server.Serve] closes them; who does not serve them calls Close.
type Sockets struct {
	Listeners []Listener
	Conn      *Conn
}

// Close closes every socket. Socket files of AF_UNIX listeners stay: they
// belong to the socket unit.
func (s Sockets) Close() error {
	var errs []error
	for _, l := range s.Listeners {
		errs = append(errs, l.Close())
	}
	if s.Conn != nil {
		errs = append(errs, s.Conn.Close())
	}
	return errors.Join(errs...)
}

// Inherited takes over what the service manager passed to this process: the
// descriptors of sd_listen_fds(3) or, without any, the socket on standard input
// (StandardInput=socket, inetd). It consumes the LISTEN_* environment, so it is
// called once. Without sockets the error is [ErrNoSockets].
func Inherited() (Sockets, error) {
	// Not activation.ListenersWithNames: it drops what is no listener.
	listenPID := os.Getenv("LISTEN_PID")
	if files := activation.Files(true); len(files) > 0 {
		return Sort(files)
	}
	if isSocket(os.Stdin) {
		return fromStdin()
	}
	if listenPID != "" {
		return Sockets{}, fmt.Errorf("take descriptors: %w: those of LISTEN_FDS are for process %s, this is %d",
			ErrNoSockets, listenPID, os.Getpid())
	}
	return Sockets{}, fmt.Errorf("take descriptors: %w", ErrNoSockets)
}

// Sort tells listeners from an accepted connection by SO_ACCEPTCONN (socket(7)),
// without touching any queue. It takes files over and closes them, also with an
// error. Names of files become the names of the sockets. Only stream sockets of
// AF_INET, AF_INET6 and AF_UNIX are served; anything else is an error, and so is
// a connection that is not alone.
func Sort(files []*os.File) (Sockets, error) {
	defer func() {
		for _, f := range files {
			// The sockets live on in duplicates.
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
	listening, err := inspect(f)
	if err != nil {
		return err
	}
	if !listening {
		if total > 1 {
			return errors.New("an accepted connection among several descriptors; pass it alone (Accept=yes)")
		}
		conn, err := net.FileConn(f)
		if err != nil {
			return fmt.Errorf("open connection: %w", err)
		}
		s.Conn = &Conn{Conn: conn, Name: f.Name()}
		return nil
	}
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

// fromStdin moves the socket off descriptors 0 to 2 and puts /dev/null there:
// whatever writes to standard output or error later cannot end up in the echo.
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
