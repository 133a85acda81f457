package vm

import (
	"context"
	"errors"
	"io"
	"net"

	"example.org/systemd-vmtest/vmtest/internal/link"
)

// Exec runs a command in the guest to its end. The error of a command that ran and did
// not exit with 0 is a *link.ExitError, and that of one that could not be started a
// *link.StartError. Exec does not wrap these. Any other error says that no end of the
// command is known.
func (m *Machine) Exec(ctx context.Context, c link.Command) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	err := m.Session().Exec(ctx, c)
	if errors.As(err, new(*link.ExitError)) || errors.As(err, new(*link.StartError)) {
		return err
	}
	return m.Explain(ctx, "lost", err)
}

// run runs a command that must exit with 0 and drops its output.
func (m *Machine) run(ctx context.Context, args ...string) error {
	return m.Exec(ctx, link.Command{Args: args, Stdout: io.Discard, Stderr: io.Discard})
}

// With calls op with the session. doing names op in an error, such as "copy into".
func (m *Machine) With(ctx context.Context, doing string, op func(context.Context, *link.Client) error) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	return m.Explain(ctx, doing, op(ctx, m.Session()))
}

// Dial connects to an address inside the guest. The caller closes the connection.
func (m *Machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return m.DialFrom(ctx, link.Source{}, network, address)
}

// DialFrom is Dial from a source in the guest.
func (m *Machine) DialFrom(ctx context.Context, from link.Source, network, address string) (net.Conn, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	conn, err := m.Session().DialFrom(ctx, from, network, address)
	if err != nil {
		return nil, m.Explain(ctx, "lost", err)
	}
	return conn, nil
}

// Listen listens on a socket inside the guest. The caller closes the listener.
func (m *Machine) Listen(ctx context.Context, network, address string) (*link.Listener, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	l, err := m.Session().Listen(ctx, network, address)
	return l, m.Explain(ctx, "lost", err)
}

// ListenPacket opens a socket for datagrams inside the guest. The caller closes it.
func (m *Machine) ListenPacket(ctx context.Context, network, address string) (*link.PacketConn, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	p, err := m.Session().ListenPacket(ctx, network, address)
	return p, m.Explain(ctx, "lost", err)
}

// Connection opens a stream on which the guest's agent serves SSH, for another process. The
// caller closes it.
func (m *Machine) Connection(ctx context.Context) (net.Conn, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	conn, err := m.Session().Connection(ctx)
	if err != nil {
		return nil, m.Explain(ctx, "connect to", err)
	}
	return conn, nil
}
