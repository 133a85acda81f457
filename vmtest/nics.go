package vmtest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"example.org/systemd-vmtest/vmtest/internal/ether"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// nics are the network interfaces of a machine.
type nics struct {
	stations []*ether.Station

	joining sync.Mutex // held during Join

	mu   sync.Mutex
	used []*Interface // by NIC; nil is in no network
	ever []*Interface // all that were in a network, for the evidence

	sending sync.Mutex // held while the guest gets host names; taken before mu
	sent    []guest.Host
}

// connect makes a station of each NIC. The frames of a NIC that is in no network must be read,
// too, or QEMU would keep them for the network that it joins.
func connect(m *vm.Machine) *nics {
	n := new(nics)
	for nic := range m.NICs() {
		n.stations = append(n.stations, ether.NewStation(m.NIC(nic)))
	}
	n.used = make([]*Interface, len(n.stations))
	return n
}

// adopt plugs the cables of interfaces that the guest has.
func (n *nics) adopt(m *Machine, planned []*Interface) error {
	for _, i := range planned {
		if err := i.plug(m, n.stations[i.nic]); err != nil {
			return err
		}
		n.mu.Lock()
		n.used[i.nic] = i
		n.ever = append(n.ever, i)
		n.mu.Unlock()
	}
	return nil
}

// release gives up an interface.
func (n *nics) release(i *Interface) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.used[i.nic] == i {
		n.used[i.nic] = nil
	}
}

// free returns the first NIC that is in no network.
func (n *nics) free() (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	nic := slices.Index(n.used, nil)
	if nic < 0 {
		return 0, fmt.Errorf("join network: all %d network interfaces of the machine are in networks: set Config.NICs to %d or more",
			len(n.used), len(n.used)+1)
	}
	return nic, nil
}

// joined returns the interfaces that are in networks.
func (n *nics) joined() []*Interface {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(n.used), func(i *Interface) bool { return i == nil })
}

// evidence returns all interfaces that were in networks.
func (n *nics) evidence() []*Interface {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.ever)
}

// in returns the interface in a network, or nil.
func (n *nics) in(network *Network) *Interface {
	for _, i := range n.joined() {
		if i.network == network {
			return i
		}
	}
	return nil
}

// networks returns the networks of interfaces.
func networks(interfaces []*Interface) []*Network {
	list := make([]*Network, len(interfaces))
	for at, i := range interfaces {
		list[at] = i.network
	}
	return list
}

// send sends the guest its interfaces that are new, and the hosts of all its networks unless it
// has them.
func (n *nics) send(ctx context.Context, m *vm.Machine, added []guest.Interface) error {
	n.sending.Lock()
	defer n.sending.Unlock()
	hosts := hostsOf(networks(n.joined()))
	if len(added) == 0 && slices.Equal(hosts, n.sent) {
		return nil
	}
	if err := m.SetNetwork(ctx, guest.Network{Interfaces: added, Hosts: hosts}); err != nil {
		return err
	}
	n.sent = hosts
	return nil
}

// hostsOf returns the hosts of networks.
func hostsOf(in []*Network) []guest.Host {
	var list []guest.Host
	for _, n := range in {
		list = append(list, n.hosts()...)
	}
	return list
}

// leave takes the machine out of all its networks.
func (n *nics) leave() {
	for _, i := range n.joined() {
		i.network.forget(i)
	}
}
