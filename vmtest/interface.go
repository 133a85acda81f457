package vmtest

import (
	"context"
	"net/netip"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/ether"
	"example.org/systemd-vmtest/vmtest/internal/guest"
)

// Station says how a machine appears in a network. The zero value leaves that to the network.
type Station struct {
	// Name is the name of the machine in the network. "" is Config.Hostname, or "guest1"
	// for the machine that joins first, and so on.
	Name string

	// IPv4 and IPv6 are addresses in the network's subnets. The zero value is the next free
	// one.
	IPv4, IPv6 netip.Addr
}

// Interface is a network interface by which a machine is in a network.
type Interface struct {
	Name       string  // in the guest, such as "eth0"
	Host       string  // the name of the machine in the network
	Ethernet   [6]byte // its address there
	IPv4, IPv6 netip.Addr

	network *Network
	nic     int
	seed    uint64

	// Until the machine has started, they are nil. Guarded by network.mu.
	machine *Machine // also nil for Attach
	station *ether.Station
}

// Subnet4 returns the subnet of the network.
func (i *Interface) Subnet4() netip.Prefix { return i.network.config.IPv4 }

// Subnet6 is Subnet4 for IPv6.
func (i *Interface) Subnet6() netip.Prefix { return i.network.config.IPv6 }

// plug plugs a cable into the network, of a machine or of none.
func (i *Interface) plug(m *Machine, st *ether.Station) {
	i.network.mu.Lock()
	defer i.network.mu.Unlock()
	i.machine, i.station = m, st
	if !i.network.closed {
		st.Plug(&i.network.sw, i.Ethernet, i.seed)
	}
}

// pull undoes plug.
func (i *Interface) pull() {
	i.network.mu.Lock()
	m, st := i.machine, i.station
	i.network.mu.Unlock()
	if m != nil {
		m.nics.release(i)
	}
	if st != nil {
		st.Pull()
	}
}

// Faults are what goes wrong with frames in one direction of a cable. The zero value is a
// cable without faults. Decisions follow from NetworkConfig.Seed and the number of the frame.
type Faults = ether.Faults

// SetFaults sets what happens from now on to the frames that the machine sends, and to those
// that it would receive.
func (i *Interface) SetFaults(sent, received Faults) {
	i.station.SetFaults(sent, received)
}

// ofGuest describes the interface to the guest.
func (i *Interface) ofGuest() guest.Interface {
	return guest.Interface{
		NIC: uint8(i.nic), Address: i.Ethernet,
		IPv4: netip.PrefixFrom(i.IPv4, i.network.config.IPv4.Bits()),
		IPv6: netip.PrefixFrom(i.IPv6, i.network.config.IPv6.Bits()),
	}
}

// SetCable plugs the interface's cable in, or pulls it, so that the guest sees its link go
// down (carrier, ip-link(8)).
func (m *Machine) SetCable(ctx context.Context, i *Interface, plugged bool) error {
	return public(m.vm.SetCable(ctx, i.nic, plugged))
}

// SetCable plugs a cable in or pulls it, as Machine.SetCable.
func (g *Guest) SetCable(t testing.TB, i *Interface, plugged bool) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.SetCable(ctx, i, plugged) })
}

// Interface returns the interface by which the machine is in a network, or nil.
func (m *Machine) Interface(n *Network) *Interface { return m.nics.in(n) }

// Interface returns the interface by which the guest is in a network. If it is not, the test
// fails.
func (g *Guest) Interface(t testing.TB, n *Network) *Interface {
	t.Helper()
	i := g.Machine.Interface(n)
	if i == nil {
		t.Fatal("the guest has not joined the network")
	}
	return i
}
