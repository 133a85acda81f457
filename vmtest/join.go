package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/ether"
)

// launcher returns a machine that c describes.
type launcher func(ctx context.Context, c Config) (*Machine, error)

// inNetworks launches a machine in the networks of its configuration. Its guest gets its
// addresses while it wakes, which costs less than a call.
func (launch launcher) inNetworks(ctx context.Context, c Config) (*Machine, error) {
	if len(c.Networks) == 0 {
		return launch(ctx, c)
	}
	var planned []*Interface
	for nic, n := range c.Networks {
		i, err := planIn(n, c.Networks[:nic], Station{}, c.Hostname, nic)
		if err != nil {
			forget(planned)
			return nil, err
		}
		planned = append(planned, i)
	}
	told, version := describe(c.Networks, planned)
	network, err := told.Marshal()
	if err != nil {
		forget(planned)
		return nil, err
	}
	c.network = string(network)
	m, err := launch(ctx, c)
	if err != nil {
		forget(planned)
		return nil, err
	}
	m.nics.told = version
	m.nics.adopt(m, planned)
	if err := tellNames(ctx, c.Networks...); err != nil {
		forget(planned)
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// planIn plans an interface in n of a machine that is in others.
func planIn(n *Network, others []*Network, st Station, hostname string, nic int) (*Interface, error) {
	for _, other := range others {
		if other == n {
			return nil, errors.New("join network: the machine is in this network already")
		}
		if a, b := other.config, n.config; a.IPv4.Overlaps(b.IPv4) || a.IPv6.Overlaps(b.IPv6) {
			return nil, fmt.Errorf("join network: %v and %v of a network that the machine is in overlap %v and %v: set NetworkConfig.IPv4 and IPv6",
				a.IPv4, a.IPv6, b.IPv4, b.IPv6)
		}
	}
	return n.plan(st, hostname, nic)
}

func forget(planned []*Interface) {
	for _, i := range planned {
		i.network.forget([]*Interface{i})
	}
}

// tellNames tells the names in networks to all their machines that do not know them.
func tellNames(ctx context.Context, networks ...*Network) error {
	var errs []error
	for _, n := range networks {
		errs = append(errs, n.tell(ctx))
	}
	return errors.Join(errs...)
}

// tell tells the names to all machines of the network. Those that have gone need none.
func (n *Network) tell(ctx context.Context) error {
	n.telling.Lock()
	defer n.telling.Unlock()
	members := n.members()
	errs := make([]error, len(members))
	var tasks sync.WaitGroup
	for at, m := range members {
		tasks.Go(func() {
			if err := m.nics.tell(ctx, m, nil); err != nil && !isClosed(m.Done()) {
				errs[at] = fmt.Errorf("tell machines the names in their network: %w", public(err))
			}
		})
	}
	tasks.Wait()
	return errors.Join(errs...)
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// Join plugs a network interface of the machine, the first that is in no network, into a
// network, and gives it addresses there. Then all machines of the network know its name.
// Config.Networks does so faster, where the network is there before the machine.
func (m *Machine) Join(ctx context.Context, n *Network, st Station) (*Interface, error) {
	m.nics.joining.Lock()
	defer m.nics.joining.Unlock()
	nic, err := m.nics.free()
	if err != nil {
		return nil, err
	}
	i, err := planIn(n, networks(m.nics.all()), st, m.config.Hostname, nic)
	if err != nil {
		return nil, err
	}
	m.nics.adopt(m, []*Interface{i})
	if err = m.nics.tell(ctx, m, []*Interface{i}); err == nil {
		err = n.tell(ctx)
	}
	if err != nil {
		n.forget([]*Interface{i})
		return nil, public(err)
	}
	return i, nil
}

// Join plugs an interface of the guest into a network, as Machine.Join.
func (g *Guest) Join(t testing.TB, n *Network, st Station) *Interface {
	t.Helper()
	return get(t, g, func(ctx context.Context) (*Interface, error) { return g.Machine.Join(ctx, n, st) })
}

// rejoin gives the guest of a machine that has rebooted its addresses again.
func (m *Machine) rejoin(ctx context.Context) error {
	joined := slices.DeleteFunc(m.nics.all(), func(i *Interface) bool { return i == nil })
	if len(joined) == 0 {
		return nil
	}
	return m.nics.tell(ctx, m, joined)
}

// Attach puts a station that is no machine into the network: a peer whose frames pass through
// conn, each behind its length, as 32 bits in network byte order. It must have the address
// Interface.Ethernet, or may be as hostile as a test wants. The network closes conn, and the
// station leaves when conn ends. Package netstack is a peer with IP and TCP.
func (n *Network) Attach(ctx context.Context, conn io.ReadWriteCloser, st Station) (*Interface, error) {
	i, err := n.plan(st, "", 0)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	i.Name = ""
	i.plug(nil, ether.NewStation(conn))
	if err := n.tell(ctx); err != nil {
		n.forget([]*Interface{i})
		i.station.Close()
		return nil, err
	}
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
