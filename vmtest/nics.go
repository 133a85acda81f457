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
	told int          // the sum of the versions of the names that the guest knows
}

// connect makes a station of each NIC. Somebody must take the frames of a NIC that is in no
// network, or QEMU would keep them for the network that it joins.
func connect(m *vm.Machine) *nics {
	n := new(nics)
	for nic := range m.NICs() {
		n.stations = append(n.stations, ether.NewStation(m.NIC(nic)))
	}
	n.used = make([]*Interface, len(n.stations))
	return n
}

// adopt plugs the cables of interfaces that the guest has.
func (n *nics) adopt(m *Machine, planned []*Interface) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, i := range planned {
		n.used[i.nic] = i
		i.plug(m, n.stations[i.nic])
	}
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
	nic := slices.Index(n.all(), nil)
	if nic < 0 {
		return 0, fmt.Errorf("join network: all %d network interfaces of the machine are in networks: set Config.NICs to %d or more",
			len(n.stations), len(n.stations)+1)
	}
	return nic, nil
}

func (n *nics) all() []*Interface {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.used)
}

// in returns the interface in a network, or nil.
func (n *nics) in(network *Network) *Interface {
	for _, i := range n.all() {
		if i != nil && i.network == network {
			return i
		}
	}
	return nil
}

// networks returns the networks of interfaces, some of which may be nil.
func networks(interfaces []*Interface) []*Network {
	var list []*Network
	for _, i := range interfaces {
		if i != nil {
			list = append(list, i.network)
		}
	}
	return list
}

// tell tells the guest about interfaces that are new, and about the names of all its networks
// if it does not know them. The caller holds no other lock than that of telling.
func (n *nics) tell(ctx context.Context, m *Machine, added []*Interface) error {
	known, version := describe(networks(n.all()), added)
	n.mu.Lock()
	told := n.told
	n.mu.Unlock()
	if told == version && len(added) == 0 {
		return nil
	}
	if err := m.vm.SetNetwork(ctx, known); err != nil {
		return err
	}
	n.mu.Lock()
	n.told = version
	n.mu.Unlock()
	return nil
}

// describe returns what a guest in networks is told, and the sum of the versions of that.
func describe(in []*Network, added []*Interface) (d guest.Network, version int) {
	for _, i := range added {
		d.Interfaces = append(d.Interfaces, i.ofGuest())
	}
	for _, n := range in {
		list, v := n.hosts()
		d.Hosts, version = append(d.Hosts, list...), version+v
	}
	return d, version
}
