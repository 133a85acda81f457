package vmtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/ether"
	"example.org/systemd-vmtest/vmtest/internal/guest"
)

// Interface is a network interface by which a machine is in a network.
type Interface struct {
	Name         string // in the guest, such as "eth0"; "" of Network.Attach
	Host         string // the name of the machine in the network
	HardwareAddr net.HardwareAddr
	IPv4, IPv6   netip.Addr

	network *Network
	nic     int
	seed    uint64

	// Until the machine has started, they are nil. Guarded by network.mu.
	machine *Machine // also nil of Attach
	station *ether.Station

	pulled bool // the cable, by SetCable; guarded by network.mu
}

// Subnet4 returns the subnet of the network.
func (i *Interface) Subnet4() netip.Prefix { return i.network.config.IPv4 }

// Subnet6 is Subnet4 for IPv6.
func (i *Interface) Subnet6() netip.Prefix { return i.network.config.IPv6 }

// plug plugs a cable into the network, of a machine or of none.
func (i *Interface) plug(m *Machine, st *ether.Station) error {
	i.network.mu.Lock()
	defer i.network.mu.Unlock()
	if i.network.closed {
		return errNetworkClosed
	}
	i.machine, i.station = m, st
	st.Plug(&i.network.sw, ether.Address(i.HardwareAddr), i.seed)
	return nil
}

// pull undoes plug. The station of no machine ends.
func (i *Interface) pull() {
	i.network.mu.Lock()
	m, st := i.machine, i.station
	i.network.mu.Unlock()
	switch {
	case m != nil:
		m.nics.release(i)
		st.Pull()
	case st != nil:
		st.Close()
	}
}

// gone reports whether the machine of the interface has ended, or the stream of a station that
// is no machine. The caller holds network.mu.
func (i *Interface) gone() bool {
	switch {
	case i.machine != nil:
		return isClosed(i.machine.Done())
	case i.station != nil:
		return isClosed(i.station.Done())
	}
	return false
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// Faults are what goes wrong with frames in one direction of a cable. The zero value is a cable
// without faults. What happens to a frame follows from NetworkConfig.Seed and its number.
type Faults = ether.Faults

// SetFaults sets what happens from now on to the frames that the machine sends, and to those
// that it would receive.
func (i *Interface) SetFaults(sent, received Faults) { i.station.SetFaults(sent, received) }

// inGuest describes the interface to the guest.
func (i *Interface) inGuest() guest.Interface {
	return guest.Interface{
		NIC: uint8(i.nic), Address: [6]byte(i.HardwareAddr),
		IPv4: netip.PrefixFrom(i.IPv4, i.network.config.IPv4.Bits()),
		IPv6: netip.PrefixFrom(i.IPv6, i.network.config.IPv6.Bits()),
	}
}

// evidence describes the interface and what the network has counted.
func (i *Interface) evidence() string {
	c := i.station.Counters()
	frames, gone := i.network.sw.Captured()
	text := fmt.Sprintf("%s (%s): %v, %v, %v; short frames dropped: %d; frames to it without room: %d; taken by Faults: %d of its own, %d to it; %d frames of the network captured, %d earlier ones left out",
		i.Name, i.Host, i.HardwareAddr, i.IPv4, i.IPv6, c.Runts, c.Dropped, c.LostFrom, c.LostTo, frames, gone)
	if i.isPulled() {
		text += "; its cable is pulled by SetCable"
	}
	if err := i.station.Err(); err != nil {
		text += fmt.Sprintf("; its cable was pulled: %v", err)
	}
	return text
}

// SetCable plugs the cable of one of the machine's interfaces in, or pulls it, so that the guest
// sees its link go down (carrier, ip-link(8)). Its peers notice nothing until timeouts of their
// own, such as a deadline of the connection. The addresses stay.
func (m *Machine) SetCable(ctx context.Context, i *Interface, plugged bool) error {
	if !slices.Contains(m.nics.joined(), i) {
		return errors.New("set cable: the interface is not one of this machine in a network")
	}
	if err := m.vm.SetCable(ctx, i.nic, plugged); err != nil {
		return public(err)
	}
	i.network.mu.Lock()
	defer i.network.mu.Unlock()
	i.pulled = !plugged
	return nil
}

// isPulled reports whether SetCable has pulled the cable.
func (i *Interface) isPulled() bool {
	i.network.mu.Lock()
	defer i.network.mu.Unlock()
	return i.pulled
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
