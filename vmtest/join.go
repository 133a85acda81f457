package vmtest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/guest"
)

// JoinConfig says how a machine appears in a network. The zero value leaves that to the network.
type JoinConfig struct {
	// Name is the host name of the machine in the network. "" is Config.Hostname, or
	// "guest1" for the machine that joins first, and so on.
	Name string

	// IPv4 and IPv6 are addresses in the network's subnets. The zero value is the next free
	// one.
	IPv4, IPv6 netip.Addr
}

// launcher returns a machine that c describes.
type launcher func(ctx context.Context, c Config) (*Machine, error)

// inNetworks launches a machine in the networks of its configuration. Its guest gets its
// addresses while it wakes, which costs less than a call.
func (launch launcher) inNetworks(ctx context.Context, c Config) (m *Machine, err error) {
	if len(c.Networks) == 0 {
		return launch(ctx, c)
	}
	var planned []*Interface
	defer func() {
		if m == nil { // also if launch ended the goroutine
			for _, i := range planned {
				i.network.forget(i)
			}
		}
	}()
	var frame guest.Network
	for nic, n := range c.Networks {
		i, err := planIn(n, c.Networks[:nic], JoinConfig{}, c.Hostname, nic)
		if err != nil {
			return nil, err
		}
		planned = append(planned, i)
		frame.Interfaces = append(frame.Interfaces, i.inGuest())
	}
	frame.Hosts = hostsOf(c.Networks)
	network, err := frame.Marshal()
	if err != nil {
		return nil, err
	}
	c.network = string(network)
	launched, err := launch(ctx, c)
	if err != nil {
		return nil, err
	}
	launched.nics.sent = frame.Hosts
	if err := launched.nics.adopt(launched, planned); err != nil {
		return nil, errors.Join(err, launched.Close())
	}
	for _, n := range c.Networks {
		n.sendHosts(ctx)
	}
	return launched, nil
}

// planIn plans an interface in n of a machine that is in others.
func planIn(n *Network, others []*Network, j JoinConfig, hostname string, nic int) (*Interface, error) {
	for _, other := range others {
		if other == n {
			return nil, errors.New("join network: the machine is in this network already")
		}
		if a, b := other.config, n.config; a.IPv4.Overlaps(b.IPv4) || a.IPv6.Overlaps(b.IPv6) {
			return nil, fmt.Errorf("join network: %v and %v of a network that the machine is in overlap %v and %v: set NetworkConfig.IPv4 and IPv6",
				a.IPv4, a.IPv6, b.IPv4, b.IPv6)
		}
	}
	return n.plan(j, hostname, nic)
}

// Join plugs a network interface of the machine, the first that is in no network, into a
// network, and gives it addresses there. Then all machines of the network have its name.
// Config.Networks does so faster, where the network is there before the machine.
func (m *Machine) Join(ctx context.Context, n *Network, j JoinConfig) (*Interface, error) {
	m.nics.joining.Lock()
	defer m.nics.joining.Unlock()
	nic, err := m.nics.free()
	if err != nil {
		return nil, err
	}
	i, err := planIn(n, networks(m.nics.joined()), j, m.config.Hostname, nic)
	if err != nil {
		return nil, err
	}
	if err = m.nics.adopt(m, []*Interface{i}); err == nil {
		err = m.nics.send(ctx, m.vm, []guest.Interface{i.inGuest()})
	}
	if err != nil {
		n.forget(i)
		return nil, public(err)
	}
	n.sendHosts(ctx)
	return i, nil
}

// Join plugs an interface of the guest into a network, as Machine.Join.
func (g *Guest) Join(t testing.TB, n *Network, j JoinConfig) *Interface {
	t.Helper()
	return get(t, g, func(ctx context.Context) (*Interface, error) { return g.Machine.Join(ctx, n, j) })
}

// rejoin gives the guest of a machine that has rebooted its addresses again.
func (m *Machine) rejoin(ctx context.Context) error {
	var interfaces []guest.Interface
	for _, i := range m.nics.joined() {
		interfaces = append(interfaces, i.inGuest())
	}
	if interfaces == nil {
		return nil
	}
	return m.nics.send(ctx, m.vm, interfaces)
}

// leaveNetworks takes the machine out of its networks, and the addresses out of the guest.
func (m *Machine) leaveNetworks(ctx context.Context) error {
	var interfaces []guest.Interface
	for _, i := range m.nics.joined() {
		interfaces = append(interfaces, guest.Interface{NIC: uint8(i.nic), Down: true})
	}
	if interfaces == nil {
		return nil
	}
	m.nics.leave()
	return m.nics.send(ctx, m.vm, interfaces)
}
