package vmtest

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// The endings are those of package vm.
func TestEndings(t *testing.T) {
	for here, there := range map[Ending]vm.Ending{
		EndingPoweroff: vm.EndingPoweroff, EndingReboot: vm.EndingReboot, EndingPanic: vm.EndingPanic, EndingKilled: vm.EndingKilled,
	} {
		assert.EqualValues(t, here, there)
	}
}

// A call to a machine that this host has killed says that, and reads no evidence.
func TestCallAfterKill(t *testing.T) {
	m := machineHere(t)
	m.Kill()
	for name, call := range map[string]func(context.Context, *Machine) error{
		"unit": func(ctx context.Context, m *Machine) error { return m.Unit("a.service").Wait(ctx, "active") },
		"systemd": func(ctx context.Context, m *Machine) error {
			_, err := m.Systemd(ctx)
			return err
		},
		"dial": func(ctx context.Context, m *Machine) error {
			_, err := m.Dial(ctx, "tcp", "127.0.0.1:1")
			return err
		},
		"command": func(ctx context.Context, m *Machine) error {
			_, err := m.Run(ctx, "true")
			return err
		},
	} {
		err := call(t.Context(), m)
		assert.ErrorIs(t, err, net.ErrClosed, name)
		assert.ErrorContains(t, err, "the host ended the session by Kill", name)
		assert.NotContains(t, err.Error(), "journal", name)
	}
}
