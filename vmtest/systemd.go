package vmtest

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"example.org/systemd-vmtest/internal/tail"
)

// privateSocket is where systemd itself answers D-Bus, before there is a bus and
// without one (sd_bus_open_system_with_description(3) has it for systemctl).
const privateSocket = "/run/systemd/private"

const (
	managerPath      = "/org/freedesktop/systemd1"
	unitPath         = managerPath + "/unit/"
	managerInterface = "org.freedesktop.systemd1.Manager"
	managerName      = "org.freedesktop.systemd1"
)

// managerConn is the connection to the guest's systemd, made when first asked
// for, and anew when systemd has dropped it (as it does on daemon-reexec).
type managerConn struct {
	mu    sync.Mutex
	typed *dbus.Conn   // go-systemd's view of raw
	raw   *godbus.Conn // for the signals that go-systemd does not pass on
}

func (c *managerConn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.raw != nil {
		c.typed.Close() // closes raw
		c.typed, c.raw = nil, nil
	}
}

// Systemd returns a connection to the guest's systemd over D-Bus. The machine
// closes it.
func (m *Machine) Systemd(ctx context.Context) (*dbus.Conn, error) {
	conn, _, err := m.dialSystemd(ctx)
	return conn, m.overdue(ctx, "lost", err)
}

func (m *Machine) dialSystemd(ctx context.Context) (*dbus.Conn, *godbus.Conn, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	m.manager.mu.Lock()
	defer m.manager.mu.Unlock()
	if c := m.manager.typed; c != nil {
		if c.Connected() {
			return c, m.manager.raw, nil
		}
		c.Close()
		m.manager.typed, m.manager.raw = nil, nil
	}
	raw, err := m.dialManager(ctx)
	if err != nil {
		return nil, nil, m.gone("talk to systemd of", err)
	}
	// go-systemd asks twice, for calls and for signals; one connection does both.
	typed, err := dbus.NewConnection(func() (*godbus.Conn, error) { return raw, nil })
	if err != nil {
		raw.Close()
		return nil, nil, err
	}
	m.manager.typed, m.manager.raw = typed, raw
	return typed, raw, nil
}

// dialManager connects to systemd's private socket and authenticates as the
// guest's root, which is who the agent is; the host's user is nobody there.
func (m *Machine) dialManager(ctx context.Context) (*godbus.Conn, error) {
	stream, err := m.session().Dial(ctx, "unix", privateSocket)
	if err != nil {
		return nil, fmt.Errorf("connect to systemd: %w", err)
	}
	// The context of a godbus connection ends the connection, so it is not ctx,
	// which is over when this call is.
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

// waitSystemState waits until systemd has left "initializing" and "starting", and
// returns the state it came to (systemctl(1), is-system-running).
//
// SystemState announces no changes; what comes at the right moment is the signal
// StartupFinished (org.freedesktop.systemd1(5)).
func (m *Machine) waitSystemState(ctx context.Context) (string, error) {
	_, conn, err := m.dialSystemd(ctx)
	if err != nil {
		return "", err
	}
	signals := watchSignals(conn)
	defer signals.close()
	manager := conn.Object(managerName, managerPath)
	// On the private socket every signal is sent anyway; Subscribe says so to
	// whatever version may one day not.
	if err := manager.CallWithContext(ctx, managerInterface+".Subscribe", 0).Err; err != nil {
		return "", fmt.Errorf("subscribe to systemd: %w", err)
	}
	for {
		var state string
		err := manager.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, managerInterface, "SystemState").Store(&state)
		if err != nil {
			return "", fmt.Errorf("read SystemState: %w", err)
		}
		if state != "initializing" && state != "starting" {
			return state, nil
		}
		if err := signals.next(ctx, func(s *godbus.Signal) bool {
			return s.Name == managerInterface+".StartupFinished"
		}); err != nil {
			return "", fmt.Errorf("state %s: %w", state, err)
		}
	}
}

// explainState says which units keep a system from "running".
func (m *Machine) explainState(ctx context.Context, state string) error {
	conn, err := m.Systemd(ctx)
	if err != nil {
		return fmt.Errorf("systemd is %q instead of running; which units failed is not known: %w", state, err)
	}
	units, err := conn.ListUnitsFilteredContext(ctx, []string{"failed"})
	if err != nil {
		return fmt.Errorf("systemd is %q instead of running; which units failed is not known: %w", state, err)
	}
	var names []string
	for _, u := range units {
		names = append(names, tail.Printable(u.Name))
	}
	return fmt.Errorf("systemd is %q instead of running; failed units: %s", state, strings.Join(names, ", "))
}
