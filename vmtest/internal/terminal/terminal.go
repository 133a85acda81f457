// Package terminal connects the terminal of this process with a command in a guest.
package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"example.org/systemd-vmtest/internal/pty"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// ErrLeft is the cause of a context that ended because the person typed the escape, "~." at
// the beginning of a line.
var ErrLeft = errors.New(`left by "~."`)

// LoginShell is the command that a person at a terminal gets in a guest: bash where there is one.
var LoginShell = []string{"/bin/sh", "-c", "if command -v bash >/dev/null; then exec bash -l; fi; exec sh -l"}

// Session is a terminal in raw mode (termios(3)): each key goes to the guest, and what the
// guest writes goes to the terminal as it is.
type Session struct {
	link.Terminal

	tty     *os.File
	before  *term.State
	signals chan os.Signal
	done    chan struct{}
	tasks   sync.WaitGroup
	lines   lines
	leave   context.CancelCauseFunc
}

// Open takes the terminal at path, which is "/dev/tty" for that of this process, into raw
// mode. leave is called with the reason when the terminal is gone, and with ErrLeft when the
// person leaves it. The caller closes the Session.
func Open(path string, leave context.CancelCauseFunc) (*Session, error) {
	// Not standard input: a Read of a file that this process has opened itself can be ended.
	tty, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open terminal: %w", err)
	}
	s := &Session{tty: tty, leave: leave, lines: lines{begin: true}}
	s.signals, s.done = make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(s.signals, unix.SIGWINCH)
	s.Type = os.Getenv("TERM")
	if s.Size, err = s.size(); err == nil {
		err = pty.Control(s.tty, func(fd int) (err error) { s.before, err = term.MakeRaw(fd); return err })
	}
	if err != nil {
		signal.Stop(s.signals)
		tty.Close()
		return nil, fmt.Errorf("open terminal: %w", err)
	}
	sizes := make(chan link.WindowSize)
	s.Resized = sizes
	s.tasks.Go(func() { s.follow(sizes) })
	return s, nil
}

func (s *Session) size() (size link.WindowSize, err error) {
	err = pty.Control(s.tty, func(fd int) (err error) {
		size.Columns, size.Rows, err = term.GetSize(fd)
		return err
	})
	return size, err
}

// follow sends each new size.
func (s *Session) follow(sizes chan<- link.WindowSize) {
	for {
		select {
		case <-s.signals:
			size, err := s.size()
			if err != nil {
				continue
			}
			select {
			case sizes <- size:
			case <-s.done:
				return
			}
		case <-s.done:
			return
		}
	}
}

// Read returns what the person types, but for the escape, after which it returns io.EOF.
func (s *Session) Read(p []byte) (int, error) {
	if len(p) < 2 {
		return 0, io.ErrShortBuffer // one key may become two bytes
	}
	for {
		n, err := s.tty.Read(p[:len(p)/2])
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, os.ErrClosed) {
				s.leave(fmt.Errorf("read terminal: %w", err))
			}
			return 0, io.EOF
		}
		n, left := s.lines.filter(p, n)
		if left {
			s.leave(ErrLeft)
			return n, io.EOF
		}
		if n > 0 {
			return n, nil
		}
	}
}

// Write writes what the guest wrote.
func (s *Session) Write(p []byte) (int, error) { return s.tty.Write(p) }

// Close ends a Read in progress and gives the terminal back as it was.
func (s *Session) Close() error {
	signal.Stop(s.signals)
	close(s.done)
	s.tasks.Wait()
	_ = s.tty.SetReadDeadline(time.Unix(1, 0)) // it fails only if the terminal is gone
	err := pty.Control(s.tty, func(fd int) error { return term.Restore(fd, s.before) })
	return errors.Join(err, s.tty.Close())
}

// lines finds the escape at the beginning of lines, as ssh(1) has it: "~." leaves, and "~~" is a
// single "~".
type lines struct {
	begin bool // of a line
	tilde bool // was typed at the beginning of a line, and is kept back
}

// filter filters the n bytes at the beginning of p in place, which may make them twice as many,
// and returns their new number. left reports whether the escape came.
func (l *lines) filter(p []byte, n int) (_ int, left bool) {
	var out []byte
	for _, b := range append([]byte(nil), p[:n]...) {
		switch {
		case l.tilde && b == '.':
			return copy(p, out), true
		case l.tilde && b == '~':
			l.tilde, l.begin = false, false
			out = append(out, b)
			continue
		case l.tilde:
			l.tilde = false
			out = append(out, '~', b)
		case l.begin && b == '~':
			l.tilde = true
			continue
		default:
			out = append(out, b)
		}
		l.begin = b == '\r' || b == '\n'
	}
	return copy(p, out), false
}
