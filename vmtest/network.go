package vmtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
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
	closed     bool
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
	for _, i := range left {
		n.forget(i)
	}
	return nil
}

var errNetworkClosed = errors.New("join network: the network is closed")

// Attach puts a station that is no machine into the network: a peer whose frames pass through
// conn, each behind its length, as 32 bits in network byte order. It should use the address
// Interface.HardwareAddr, or may be as hostile as a test wants. The network closes conn, and the
// station leaves when conn ends. Package netstack is a peer with IP and TCP.
func (n *Network) Attach(ctx context.Context, conn io.ReadWriteCloser, j JoinConfig) (*Interface, error) {
	i, err := n.plan(j, "", 0)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	i.Name = ""
	st := ether.NewStation(conn)
	if err := i.plug(nil, st); err != nil {
		st.Close()
		return nil, err
	}
	go func() {
		<-st.Done()
		n.forget(i)
	}()
	n.sendHosts(ctx)
	return i, nil
}

// Lookup returns the addresses of the machine with a name in the network.
func (n *Network) Lookup(name string) (ipv4, ipv6 netip.Addr, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, i := range n.interfaces {
		if strings.EqualFold(i.Host, name) {
			return i.IPv4, i.IPv6, true
		}
	}
	return ipv4, ipv6, false
}

// peerAt returns the interface that has a name or an address in the network, if that is another
// one than own.
func (n *Network) peerAt(host string, own *Interface) *Interface {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, _ := netip.ParseAddr(host)
	for _, i := range n.interfaces {
		if i != own && (strings.EqualFold(i.Host, host) || at.IsValid() && (i.IPv4 == at.Unmap() || i.IPv6 == at)) {
			return i
		}
	}
	return nil
}

// plan gives a machine that is about to join by one of its NICs a name and addresses.
func (n *Network) plan(j JoinConfig, hostname string, nic int) (*Interface, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, errNetworkClosed
	}
	// A machine that has gone leaves its name and its addresses.
	n.interfaces = slices.DeleteFunc(n.interfaces, (*Interface).gone)
	n.joined++
	i := &Interface{Name: guest.InterfaceName(nic), Host: cmp.Or(j.Name, hostname, fmt.Sprintf("guest%d", n.joined)), network: n, nic: nic}
	err := n.checkName(i.Host)
	if err == nil {
		i.IPv4, err = n.choose(n.config.IPv4, j.IPv4)
	}
	if err == nil {
		i.IPv6, err = n.choose(n.config.IPv6, j.IPv6)
	}
	if err != nil {
		return nil, fmt.Errorf("join network: %w", err)
	}
	// It follows from the address, so that a machine that takes the place of another one is
	// found by those that have sent to that (arp(7)).
	i.HardwareAddr = append(net.HardwareAddr{0x52, 0x54}, i.IPv4.AsSlice()...)
	i.seed = n.config.Seed + uint64(n.joined)
	n.interfaces = append(n.interfaces, i)
	return i, nil
}

func (n *Network) checkName(name string) error {
	if !hostnames.MatchString(name) {
		return fmt.Errorf("%q is not a host name (hostname(7))", name)
	}
	for _, other := range n.interfaces {
		if strings.EqualFold(other.Host, name) {
			return fmt.Errorf("two machines have the name %q: set Config.Hostname or JoinConfig.Name", name)
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

// hosts returns the machines of the network.
func (n *Network) hosts() []guest.Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]guest.Host, len(n.interfaces))
	for at, i := range n.interfaces {
		list[at] = guest.Host{Name: i.Host, IPv4: i.IPv4, IPv6: i.IPv6}
	}
	return list
}

// sendTime bounds how long a machine holds up others that join its network.
const sendTime = 10 * time.Second

// sendHosts sends all machines of the network its hosts. One that does not take them gets them
// when the next machine joins; its own test is the one to fail.
func (n *Network) sendHosts(ctx context.Context) {
	n.mu.Lock()
	var members []*Machine
	for _, i := range n.interfaces {
		if i.machine != nil && !i.gone() {
			members = append(members, i.machine)
		}
	}
	n.mu.Unlock()
	var tasks sync.WaitGroup
	for _, m := range members {
		tasks.Go(func() {
			ctx, cancel := deadline.Within(ctx, deadline.Limit{What: "no answer", Time: sendTime, Pace: m.vm.Pace})
			defer cancel()
			if err := m.nics.send(ctx, m.vm, nil); err != nil && !isClosed(m.Done()) {
				m.config.notice(fmt.Sprintf("%s lacks the names of other machines in its network: %v", m.Image().Title(), err))
			}
		})
	}
	tasks.Wait()
}

// forget takes an interface out of the network.
func (n *Network) forget(gone *Interface) {
	n.mu.Lock()
	n.interfaces = slices.DeleteFunc(n.interfaces, func(i *Interface) bool { return i == gone })
	n.mu.Unlock()
	gone.pull()
}
