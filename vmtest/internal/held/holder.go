package held

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
)

// Machine is a machine that is to be held.
type Machine struct {
	Name    string // the wish; several machines of a name get numbers
	Image   string // a description for a user
	HostKey ssh.PublicKey

	// Connect opens a stream on which the guest's agent serves SSH.
	Connect func(context.Context) (net.Conn, error)

	// Release, if not nil, is called when a user releases the machine.
	Release func()
}

// Holder holds a machine until it is closed.
type Holder struct {
	info     Info
	machine  Machine
	lock     *host.Lock
	listener *net.UnixListener

	ctx   context.Context // ends with Close
	end   context.CancelFunc
	tasks sync.WaitGroup
}

// connectWait bounds the opening of a stream to the agent, and the wait for a request.
const connectWait = 20 * time.Second

// Hold makes a machine reachable for other processes of this user. The caller closes the
// Holder. If its process is killed first, only a directory stays, which the next call of this
// package removes.
func Hold(m Machine) (_ *Holder, err error) {
	h := &Holder{machine: m}
	defer func() {
		if err != nil {
			err = fmt.Errorf("hold machine: %w", err)
		}
	}()
	place, lock, err := open()
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := h.makeDir(place); err != nil {
		return nil, err
	}
	if err := h.fill(); err != nil {
		return nil, errors.Join(err, h.removeDir())
	}
	h.ctx, h.end = context.WithCancel(context.Background())
	h.tasks.Go(h.accept)
	return h, nil
}

// makeDir makes and locks the machine's directory. The caller has the lock of place.
func (h *Holder) makeDir(place string) error {
	wish := cmp.Or(safeName(h.machine.Name), "machine")
	h.info = Info{Name: wish, Image: h.machine.Image, Since: time.Now(), PID: os.Getpid(), Waiting: h.machine.Release != nil}
	for number := 2; ; number++ {
		h.info.Dir = filepath.Join(place, h.info.Name)
		err := os.Mkdir(h.info.Dir, 0o700)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return host.Explain(err, place)
		}
		h.info.Name = fmt.Sprintf("%s-%d", wish, number)
	}
	var err error
	if h.lock, err = host.TryLockDir(h.info.Dir); err != nil {
		return errors.Join(err, os.Remove(h.info.Dir))
	}
	return nil
}

func (h *Holder) removeDir() error {
	return errors.Join(os.RemoveAll(h.info.Dir), h.lock.Close())
}

// fill makes the files of the directory.
func (h *Holder) fill() error {
	text, err := json.Marshal(h.info)
	if err != nil {
		return err
	}
	key := h.info.Name + " " + string(ssh.MarshalAuthorizedKey(h.machine.HostKey))
	if err := os.WriteFile(filepath.Join(h.info.Dir, keyFile), []byte(key), 0o600); err != nil {
		return host.Explain(err, h.info.Dir)
	}
	if err := withSocket(h.info.Dir, h.listen); err != nil {
		return err
	}
	// The last, because a directory without it is no machine yet.
	if err := os.WriteFile(filepath.Join(h.info.Dir, infoFile), text, 0o600); err != nil {
		return errors.Join(host.Explain(err, h.info.Dir), h.listener.Close())
	}
	return nil
}

func (h *Holder) listen(path string) error {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return host.Explain(err, h.info.Dir)
	}
	listener.SetUnlinkOnClose(false) // its path is that of withSocket
	h.listener = listener
	return nil
}

// withSocket calls use with a short path of the socket in dir: that of an address has 107
// bytes at most (unix(7)). The path is valid during the call.
func withSocket(dir string, use func(path string) error) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	return use(fmt.Sprintf("/proc/self/fd/%d/%s", fd, socketFile))
}

// Info describes the machine.
func (h *Holder) Info() Info { return h.info }

// Close ends all connections, and removes the machine's directory.
func (h *Holder) Close() error {
	h.end()
	err := h.listener.Close()
	h.tasks.Wait()
	return errors.Join(err, h.removeDir())
}

func (h *Holder) accept() {
	for {
		conn, err := h.listener.AcceptUnix()
		if err != nil {
			select {
			case <-time.After(time.Second): // such as EMFILE, which passes
				continue
			case <-h.ctx.Done():
				return
			}
		}
		h.tasks.Go(func() {
			defer conn.Close()
			stop := context.AfterFunc(h.ctx, func() { conn.Close() })
			defer stop()
			if checkPeer(conn) == nil {
				h.serve(conn)
			}
		})
	}
}

// Requests, which are lines. The answer is the line answerOK or the text of an error.
const (
	connectRequest = "connect"
	releaseRequest = "release"
	answerOK       = "ok"
)

// longestLine is the longest line of a request or an answer, in bytes.
const longestLine = 4 << 10

func (h *Holder) serve(conn *net.UnixConn) {
	_ = conn.SetDeadline(time.Now().Add(connectWait))
	request, err := readLine(conn)
	if err != nil {
		return
	}
	switch request {
	case connectRequest:
		h.connect(conn)
	case releaseRequest:
		if h.machine.Release == nil {
			answer(conn, "its holder does not wait for that: end the shell that holds it")
			return
		}
		answer(conn, answerOK)
		h.machine.Release()
	default:
		answer(conn, "unknown request")
	}
}

// connect passes a connection on to the agent, and returns when either side has closed it.
func (h *Holder) connect(conn *net.UnixConn) {
	ctx, cancel := context.WithTimeout(h.ctx, connectWait)
	defer cancel()
	stream, err := h.machine.Connect(ctx)
	if err != nil {
		answer(conn, err.Error())
		return
	}
	defer stream.Close()
	stop := context.AfterFunc(h.ctx, func() { stream.Close() })
	defer stop()
	answer(conn, answerOK)
	_ = conn.SetDeadline(time.Time{})
	var there sync.WaitGroup
	there.Go(func() {
		_, _ = io.Copy(stream, conn)
		stream.Close() // SSH has no use for one direction alone
	})
	_, _ = io.Copy(conn, stream)
	conn.Close()
	there.Wait()
}

// answer sends a line. It fails only if the peer has left.
func answer(conn net.Conn, text string) {
	text = strings.ReplaceAll(tail.Printable(text), "\n", "; ")
	_, _ = io.WriteString(conn, text[:min(len(text), longestLine-1)]+"\n")
}

// readLine reads to the end of a line and no further.
func readLine(conn net.Conn) (string, error) {
	line, err := bufio.NewReaderSize(oneByte{io.LimitReader(conn, longestLine)}, longestLine).ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

// oneByte is a reader that reads one byte at a time.
type oneByte struct{ io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.Reader.Read(p[:1]) }

// checkPeer returns an error unless the other end is a process of this user or of root.
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	errControl := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := cmp.Or(errControl, err); err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return fmt.Errorf("the other end of the socket belongs to UID %d", peer.Uid)
	}
	return nil
}
