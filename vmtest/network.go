package vmtest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/ether"
	"example.org/systemd-vmtest/vmtest/internal/guest"
)

// NetworkConfig describes a network. The zero value is one of the subnets 10.0.0.0/24 and
// fd00::/64.
type NetworkConfig struct {
	// IPv4 and IPv6 are the subnets, from which each machine gets an address. A machine in
	// two networks needs others for the second one.
	IPv4, IPv6 netip.Prefix

	// Seed decides which frames are lost or late where an Interface has Faults.
	Seed uint64
}

// Network is an Ethernet segment between machines: a switch in this process, which has no
// address and no port on the host, and which nothing else reaches. Machines that join know the
// addresses and the names of each other. Its methods may be called from several goroutines.
type Network struct {
	config NetworkConfig
	sw     ether.Switch

	mu         sync.Mutex
	interfaces []*Interface // of machines that have joined or are about to
	joined     int          // interfaces so far
	version    int          // of the names; each change makes a new one
	closed     bool

	telling sync.Mutex // held while guests are told the names; taken before mu
}

// NewNetwork returns a network for machines of a test, which closes it at its end. Start puts
// machines into it by Config.Networks, and Guest.Join does so later:
//
//	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
//	server := vmtest.Start(t, vmtest.Config{Hostname: "server", Networks: []*vmtest.Network{n}})
//	client := vmtest.Start(t, vmtest.Config{Hostname: "client", Networks: []*vmtest.Network{n}})
//	client.Run(t, "nc", "-z", "server", "80")
func NewNetwork(t testing.TB, c NetworkConfig) *Network {
	t.Helper()
	n, err := OpenNetwork(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// OpenNetwork returns a network. The caller closes it.
func OpenNetwork(c NetworkConfig) (*Network, error) {
	if !c.IPv4.IsValid() {
		c.IPv4 = netip.MustParsePrefix("10.0.0.0/24")
	}
	if !c.IPv6.IsValid() {
		c.IPv6 = netip.MustParsePrefix("fd00::/64")
	}
	if !c.IPv4.Addr().Is4() || !c.IPv6.Addr().Is6() || c.IPv6.Addr().Is4In6() {
		return nil, fmt.Errorf("make network: the subnets are %v and %v: want one of IPv4 and one of IPv6", c.IPv4, c.IPv6)
	}
	c.IPv4, c.IPv6 = c.IPv4.Masked(), c.IPv6.Masked()
	return &Network{config: c}, nil
}

// Close takes all machines out of the network. For them it is one in which nobody answers.
// Further calls do nothing.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	left := slices.Clone(n.interfaces)
	n.mu.Unlock()
	n.forget(left)
	for _, i := range left {
		if i.machine == nil && i.station != nil {
			i.station.Close() // of Attach
		}
	}
	return nil
}

// plan gives a machine that is about to join by one of its NICs a name and addresses.
func (n *Network) plan(st Station, hostname string, nic int) (*Interface, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, errors.New("join network: the network is closed")
	}
	n.joined++
	i := &Interface{Name: guest.InterfaceName(nic), Host: st.Name, network: n, nic: nic}
	if i.Host == "" {
		i.Host = hostname
	}
	if i.Host == "" {
		i.Host = fmt.Sprintf("guest%d", n.joined)
	}
	err := n.checkName(i.Host)
	if err == nil {
		i.IPv4, err = n.choose(n.config.IPv4, st.IPv4)
	}
	if err == nil {
		i.IPv6, err = n.choose(n.config.IPv6, st.IPv6)
	}
	if err != nil {
		return nil, fmt.Errorf("join network: %w", err)
	}
	// With the prefix of QEMU's machines, and different from those with which they begin.
	i.Ethernet = ether.Address{0x52, 0x54, 0, byte(1 + nic), byte(n.joined >> 8), byte(n.joined)}
	i.seed = n.config.Seed + uint64(n.joined)
	n.interfaces = append(n.interfaces, i)
	n.version++
	return i, nil
}

func (n *Network) checkName(name string) error {
	if !hostnames.MatchString(name) {
		return fmt.Errorf("%q is not a host name (hostname(7))", name)
	}
	for _, other := range n.interfaces {
		if strings.EqualFold(other.Host, name) {
			return fmt.Errorf("two machines have the name %q: set Config.Hostname or Station.Name", name)
		}
	}
	return nil
}

// choose returns want, or the next free address of a subnet if that is none.
func (n *Network) choose(subnet netip.Prefix, want netip.Addr) (netip.Addr, error) {
	taken := func(a netip.Addr) bool {
		return slices.ContainsFunc(n.interfaces, func(i *Interface) bool { return i.IPv4 == a || i.IPv6 == a })
	}
	switch {
	case !want.IsValid():
		for a := subnet.Addr().Next(); subnet.Contains(a); a = a.Next() {
			if !taken(a) && (a.Is6() || subnet.Contains(a.Next())) { // the last of IPv4 is for all
				return a, nil
			}
		}
		return want, fmt.Errorf("no address of %v is free", subnet)
	case !subnet.Contains(want):
		return want, fmt.Errorf("the address %v is not in the subnet %v", want, subnet)
	case want.Is4() && (want == subnet.Addr() || !subnet.Contains(want.Next())):
		return want, fmt.Errorf("the address %v is that of the subnet %v itself, or of all in it", want, subnet)
	case taken(want):
		return want, fmt.Errorf("two machines have the address %v", want)
	}
	return want, nil
}

// hosts returns the names in the network, and their version.
func (n *Network) hosts() (list []guest.Host, version int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, i := range n.interfaces {
		list = append(list, guest.Host{Name: i.Host, IPv4: i.IPv4, IPv6: i.IPv6})
	}
	return list, n.version
}

// members returns the machines in the network.
func (n *Network) members() []*Machine {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []*Machine
	for _, i := range n.interfaces {
		if i.machine != nil {
			list = append(list, i.machine)
		}
	}
	return list
}

// forget takes interfaces out of the network.
func (n *Network) forget(gone []*Interface) {
	n.mu.Lock()
	n.interfaces = slices.DeleteFunc(n.interfaces, func(i *Interface) bool { return slices.Contains(gone, i) })
	n.version++
	n.mu.Unlock()
	for _, i := range gone {
		i.pull()
	}
}
