package systemd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
)

// Resume makes conn the connection to systemd. systemd has authenticated its other end
// already, and nothing was called on it. conn then belongs to the Manager.
func (m *Manager) Resume(ctx context.Context, conn net.Conn) error {
	c, err := newConnection(ctx, conn, &m.changes)
	if err != nil {
		return connectError(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current = c
	return nil
}

// authenticate does the client's part of the authentication protocol of the D-Bus
// specification, as sd-bus does.
//
// It sends BEGIN before the answer to AUTH, and no call before that. sd-bus would not look
// for a call that it has read together with BEGIN alone: it would answer it with the next.
func authenticate(conn net.Conn) error {
	if _, err := io.WriteString(conn, "\x00AUTH EXTERNAL 30\r\nBEGIN\r\n"); err != nil { // of UID "0", in hexadecimal
		return err
	}
	// Signals may follow the line.
	var line []byte
	for one := make([]byte, 1); !bytes.HasSuffix(line, []byte("\r\n")) && len(line) < maxLine; line = append(line, one...) {
		if _, err := io.ReadFull(conn, one); err != nil {
			return err
		}
	}
	if !bytes.HasPrefix(line, []byte("OK ")) {
		return fmt.Errorf("it answered %q", line)
	}
	return nil
}

// maxLine bounds the answer, in bytes. It has a UUID.
const maxLine = 256

// authenticated plays the server's part of the authentication protocol of the D-Bus
// specification, and then is the connection itself.
type authenticated struct {
	net.Conn
	sent    []byte // by the client
	answers []byte // to be read
	begun   bool
}

// The client reads an answer after it has asked, so Read and Write need no lock.

func (a *authenticated) Write(p []byte) (int, error) {
	if a.begun {
		return a.Conn.Write(p)
	}
	a.sent = append(a.sent, p...)
	for {
		line, rest, ok := bytes.Cut(a.sent, []byte("\r\n"))
		if !ok {
			return len(p), nil
		}
		a.sent = rest
		switch line = bytes.TrimLeft(line, "\x00"); {
		case bytes.Equal(line, []byte("AUTH")):
			a.answers = append(a.answers, "REJECTED EXTERNAL\r\n"...)
		case bytes.HasPrefix(line, []byte("AUTH EXTERNAL")):
			a.answers = append(a.answers, "OK 00000000000000000000000000000000\r\n"...)
		case bytes.Equal(line, []byte("BEGIN")):
			a.begun = true
			return len(p), nil
		default:
			return 0, fmt.Errorf("authenticate: %q is not known", line)
		}
	}
}

func (a *authenticated) Read(p []byte) (int, error) {
	if len(a.answers) > 0 {
		n := copy(p, a.answers)
		a.answers = a.answers[n:]
		return n, nil
	}
	return a.Conn.Read(p)
}
