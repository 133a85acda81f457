package vm

import (
	"context"
	"fmt"
	"net"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// Boot returns a machine that has booted until systemd is "running". The caller closes
// it.
func Boot(ctx context.Context, s Spec) (*Machine, error) {
	s.noticeEmulation()
	var started starting
	ctx, cancel := deadline.Within(ctx, deadline.Limit{
		What: "not up", Time: s.BootTimeout, Name: "Config.BootTimeout", Pace: started.Pace,
	})
	defer cancel()
	d := s.machine()
	d.Clock = s.Clock
	m, err := start(ctx, s, d, nil)
	if err != nil {
		return nil, err
	}
	started.Store(m)
	if err := m.bootUp(ctx); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// bootUp follows a machine from power-on until systemd is "running".
func (m *Machine) bootUp(ctx context.Context) error {
	closed, err := m.events.waitPort(ctx, 0)
	if err != nil {
		return m.bootError(ctx, "boot", fmt.Errorf("wait for the guest's agent: %w", err))
	}
	if err := m.settle(ctx, "boot", m.process.Link, closed); err != nil || m.spec.Network == "" {
		return err
	}
	return m.setNetwork(ctx, []byte(m.spec.Network))
}

// settle connects over conn to the agent of a system that has just booted, and waits
// until systemd is "running". closed is as for follow.
func (m *Machine) settle(ctx context.Context, doing string, conn net.Conn, closed int) error {
	client, err := m.shakeHands(ctx, closed, func(ctx context.Context) (*link.Client, error) { return link.Dial(ctx, conn) })
	if err != nil {
		return m.bootError(ctx, doing, fmt.Errorf("connect to the guest's agent: %w", err))
	}
	m.follow(client, closed)
	state, err := m.WaitSystemState(ctx)
	if err != nil {
		return m.bootError(ctx, doing, fmt.Errorf("wait for systemd: %w", err))
	}
	if state != "running" {
		return m.bootError(ctx, doing, m.explainState(ctx, state))
	}
	if _, err := m.openJournal(ctx); err != nil {
		return m.bootError(ctx, doing, err)
	}
	// As for a fork, so that both are alike for a test.
	if err := m.wake(ctx); err != nil {
		return m.bootError(ctx, doing, err)
	}
	return nil
}

// explainState returns an error that names the units which keep systemd from "running".
func (m *Machine) explainState(ctx context.Context, state string) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	names, err := m.Systemd.FailedUnits(ctx)
	if err != nil {
		return fmt.Errorf("systemd is %q instead of running; the failed units could not be listed: %w", state, err)
	}
	return fmt.Errorf("systemd is %q instead of running; failed units: %s", state, tail.Printable(strings.Join(names, ", ")))
}
