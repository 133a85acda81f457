package vm

import (
	"context"
	"net"

	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// NIC returns the stream of frames of network interface n.
func (m *Machine) NIC(n int) *net.UnixConn { return m.process.NICs[n] }

// NICs returns the number of network interfaces.
func (m *Machine) NICs() int { return m.spec.NICs }

// SetNetwork sets addresses and names in the guest.
func (m *Machine) SetNetwork(ctx context.Context, n guest.Network) error {
	data, err := n.Marshal()
	if err != nil {
		return err
	}
	return m.setNetwork(ctx, data)
}

func (m *Machine) setNetwork(ctx context.Context, network []byte) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	_, err := m.Session().Control(ctx, guest.NetworkRequest, network)
	return m.Explain(ctx, "set network", err)
}

// SetCable plugs the cable of network interface n, or pulls it, as the guest sees it.
func (m *Machine) SetCable(ctx context.Context, n int, plugged bool) error {
	err := m.monitor.Execute(ctx, "set_link", map[string]any{"name": qemu.NICID(n), "up": plugged}, nil, nil)
	return m.Explain(ctx, "set cable", err)
}
