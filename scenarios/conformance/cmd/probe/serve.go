package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/scenarios/conformance/internal/probe"
)

// firstFD is the first descriptor that sd_listen_fds(3) passes.
const firstFD = 3

// server serves sockets until the process exits.
type server struct {
	options
	report probe.Report
	count  atomic.Int64 // of lines received
	idler  *time.Timer  // nil without -idle
}

// serve serves all sockets that the process was passed.
func serve(args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	s := &server{options: o, report: describeAll()}
	fmt.Fprintf(os.Stderr, "started with LISTEN_FDS=%s LISTEN_FDNAMES=%s\n", os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"))
	if o.wait != "" {
		if err := await(o.wait); err != nil {
			return fmt.Errorf("wait for %s: %w", o.wait, err)
		}
	}
	if o.store != "" {
		if err := store(o.store); err != nil {
			return fmt.Errorf("store a descriptor: %w", err)
		}
	}
	if o.notify {
		if err := ready(); err != nil {
			return fmt.Errorf("notify systemd: %w", err)
		}
	}
	if o.idle > 0 {
		s.idler = time.AfterFunc(o.idle, func() {
			fmt.Fprintln(os.Stderr, "idle")
			os.Exit(0)
		})
	}
	passed := 0
	if pid := os.Getenv("LISTEN_PID"); pid == strconv.Itoa(os.Getpid()) {
		passed, _ = strconv.Atoi(os.Getenv("LISTEN_FDS"))
	}
	done := make(chan error)
	fds := []int{0}
	for n := range passed {
		fds = append(fds, firstFD+n)
	}
	served := 0
	for _, fd := range fds {
		if kind(fd) == "other" || kind(fd) == "stream" && fd != fds[len(fds)-1] && !isListening(fd) && sameSocket(fd, fds[len(fds)-1]) {
			continue // no socket, or a connection that is passed a second time
		}
		served++
		go func() { done <- s.serveFD(fd) }()
	}
	if served == 0 {
		return errors.New("no sockets were passed")
	}
	for range served {
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

// await waits until a path exists, by inotify(7).
func await(path string) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		return err
	}
	for events := make([]byte, 4096); ; {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		if _, err := unix.Read(fd, events); err != nil && err != unix.EINTR {
			return err
		}
	}
}

// serveFD serves one socket or FIFO to its end.
func (s *server) serveFD(fd int) error {
	f := os.NewFile(uintptr(fd), "fd"+strconv.Itoa(fd))
	switch k := kind(fd); {
	case k == "fifo":
		return s.read(f)
	case k == "datagram":
		p, err := net.FilePacketConn(f)
		if err != nil {
			return err
		}
		return s.datagrams(p)
	case isListening(fd):
		l, err := net.FileListener(f)
		if err != nil {
			return err
		}
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			go s.session(c)
		}
	}
	c, err := net.FileConn(f)
	if err != nil {
		return err
	}
	return s.session(c)
}

// read logs each line of a FIFO.
func (s *server) read(f *os.File) error {
	in := bufio.NewScanner(f)
	for in.Scan() {
		fmt.Fprintf(os.Stderr, "received %q\n", in.Text())
		s.received()
	}
	return in.Err()
}

// datagrams sends each datagram back, if its sender has an address.
func (s *server) datagrams(p net.PacketConn) error {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := p.ReadFrom(buf)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "received %q\n", buf[:n])
		if from != nil && from.String() != "" {
			if _, err := p.WriteTo([]byte(s.answer(string(buf[:n]), nil)), from); err != nil {
				return err
			}
		}
		s.received()
	}
}

// session answers the lines of one client. On a socket of packets each packet is a line.
func (s *server) session(c net.Conn) error {
	defer c.Close()
	if k := kindOf(c); k == "seqpacket" {
		buf := make([]byte, 64<<10)
		for {
			n, err := c.Read(buf)
			if n == 0 || err != nil {
				return nil
			}
			if _, err := c.Write([]byte(s.answer(string(buf[:n]), c))); err != nil {
				return err
			}
			s.received()
		}
	}
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
				return nil
			}
			return err
		}
		if _, err := io.WriteString(c, s.answer(strings.TrimSuffix(line, "\n"), c)+"\n"); err != nil {
			return err
		}
		s.received()
	}
}

// received counts a line and ends the process if it was the last one.
func (s *server) received() {
	if n := s.count.Add(1); s.lines > 0 && n >= int64(s.lines) {
		os.Exit(0)
	}
	if s.idler != nil {
		s.idler.Reset(s.idle)
	}
}

// answer carries out a command and returns its result.
func (s *server) answer(line string, c net.Conn) string {
	command, arg, _ := strings.Cut(line, " ")
	switch command {
	case "report":
		data, err := json.Marshal(withPeer(s.report, c))
		if err != nil {
			return err.Error()
		}
		return string(data)
	case "env":
		if v, ok := os.LookupEnv(arg); ok {
			return v
		}
		return "unset"
	case "bind":
		l, err := net.Listen("tcp", arg)
		if err != nil {
			return err.Error()
		}
		l.Close()
		return "ok"
	case "exit":
		status, _ := strconv.Atoi(arg)
		os.Exit(status)
	case "kill":
		unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}
	return line
}
