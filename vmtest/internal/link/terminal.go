package link

import (
	"errors"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// Terminal is what a command sees of a terminal: the guest makes one (pty(7)) of this type
// and size, and its other end is the command's streams on the host, with all that the guest
// writes to it.
type Terminal struct {
	Type    string            // as in TERM; "" is "dumb"
	Size    WindowSize        // at first
	Resized <-chan WindowSize // later sizes; nil if there are none
}

// WindowSize is the size of a terminal in characters.
type WindowSize struct{ Columns, Rows int }

func (w WindowSize) wire() wire.WindowSize {
	return wire.WindowSize{Columns: uint32(w.Columns), Rows: uint32(w.Rows)}
}

// request asks the agent for the terminal, before the command.
func (t *Terminal) request(ch ssh.Channel) error {
	size := t.Size.wire()
	pty := wire.PTY{Term: t.Type, Columns: size.Columns, Rows: size.Rows}
	if pty.Term == "" {
		pty.Term = "dumb"
	}
	ok, err := ch.SendRequest("pty-req", true, ssh.Marshal(pty))
	if err == nil && !ok {
		err = errors.New("the guest could not make a terminal")
	}
	return err
}

// follow passes sizes on until done is closed.
func (t *Terminal) follow(ch ssh.Channel, done <-chan struct{}) {
	for {
		select {
		case size, ok := <-t.Resized:
			if !ok {
				return
			}
			// It fails only if the command has ended.
			_, _ = ch.SendRequest("window-change", false, ssh.Marshal(size.wire()))
		case <-done:
			return
		}
	}
}
