// Package systemd talks from the host to a guest's systemd: PID 1 over D-Bus, and its
// journal.
package systemd

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// PrivateSocket is where systemd answers D-Bus itself, with and without a bus
// (sd_bus_open_system_with_description(3) opens it for systemctl).
const PrivateSocket = "/run/systemd/private"

const (
	managerPath      = "/org/freedesktop/systemd1"
	unitPath         = managerPath + "/unit/"
	managerInterface = "org.freedesktop.systemd1.Manager"
	managerName      = "org.freedesktop.systemd1"
)

// Manager is a guest's systemd as the manager of its units. It connects when it is first
// used, and again when systemd has closed the connection, as it does on daemon-reexec.
type Manager struct {
	dial func(context.Context) (net.Conn, error)

	mu    sync.Mutex
	typed *dbus.Conn   // go-systemd's view of raw
	raw   *godbus.Conn // for the signals that go-systemd does not pass on
}

// NewManager returns a Manager that reaches systemd's private socket through dial.
func NewManager(dial func(context.Context) (net.Conn, error)) *Manager {
	return &Manager{dial: dial}
}

// Close closes the connection. The next call makes another one.
func (m *Manager) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.raw != nil {
		m.typed.Close() // closes raw
		m.typed, m.raw = nil, nil
	}
}

// Conn returns a connection to systemd. The Manager closes it.
func (m *Manager) Conn(ctx context.Context) (*dbus.Conn, error) {
	conn, _, err := m.conn(ctx)
	return conn, err
}

func (m *Manager) conn(ctx context.Context) (*dbus.Conn, *godbus.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.typed; c != nil {
		if c.Connected() {
			return c, m.raw, nil
		}
		c.Close()
		m.typed, m.raw = nil, nil
	}
	raw, err := m.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	// go-systemd asks twice, for calls and for signals; one connection does both.
	typed, err := dbus.NewConnection(func() (*godbus.Conn, error) { return raw, nil })
	if err != nil {
		raw.Close()
		return nil, nil, err
	}
	m.typed, m.raw = typed, raw
	return typed, raw, nil
}

// connect authenticates as the guest's root, which the agent is. The host's user does not
// exist there.
func (m *Manager) connect(ctx context.Context) (*godbus.Conn, error) {
	stream, err := m.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to systemd: %w", err)
	}
	// The context of a godbus connection ends the connection, so it is not ctx, which
	// ends with this call.
	conn, err := godbus.NewConn(stream)
	if err != nil {
		stream.Close()
		return nil, fmt.Errorf("open D-Bus: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	defer stop()
	if err := conn.Auth([]godbus.Auth{godbus.AuthExternal("0")}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("authenticate to systemd: %w", err)
	}
	return conn, nil
}
