package link

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// target is an address in the guest and the channel that leads to it.
type target struct {
	network       string // as given to Dial
	kind          string
	payload       []byte
	local, remote net.Addr
	packets       bool
	addressed     bool // each packet is a wire.Addressed
}

// longest returns how many bytes a packet may have.
func (t *target) longest() int {
	if t.addressed {
		return wire.MaxAddressed
	}
	return wire.MaxPacket
}

// Source is where a connection in the guest comes from.
type Source struct {
	Address string // as in wire.Dial
	User    string
}

// networks are those that Dial has.
var networks = []string{"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "unixgram", "unixpacket", "vsock", "fifo", "mqueue"}

// newTargetFrom is newTarget for a socket of any kind, and from a source.
func newTargetFrom(ctx context.Context, from Source, network, address string) (*target, error) {
	if !slices.Contains(networks, network) {
		return nil, unknownNetwork(network, networks)
	}
	if err := checkVsock(network, address, from.Address); err != nil {
		return nil, err
	}
	var t *target
	if stream, err := newTarget(ctx, network, address); err == nil && from == (Source{}) {
		return stream, nil
	} else if err == nil {
		t = stream
	} else if network != "vsock" && !wire.Packets(network) && !namesHost(network, address) {
		return nil, err
	}
	if t == nil {
		t = &target{network: network, local: nameAddr{network, from.Address}, remote: nameAddr{network, address}}
	}
	t.kind, t.packets = wire.DialChannel, wire.Packets(network)
	t.payload = ssh.Marshal(wire.Dial{Network: network, Address: address, Source: from.Address, User: from.User})
	return t, nil
}

// namesHost reports whether an address of tcp4 or tcp6 has a name, which the guest resolves.
func namesHost(network, address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return false
	}
	_, err = netip.ParseAddr(host)
	return err != nil
}

// checkVsock parses the addresses of vsock; source may be "".
func checkVsock(network, address, source string) error {
	if network != "vsock" {
		return nil
	}
	_, _, err := wire.ParseVsock(address)
	if err == nil && source != "" {
		_, _, err = wire.ParseVsock(source)
	}
	return err
}

// unknownNetwork is the error for a network that is not one of a call's.
func unknownNetwork(network string, of []string) error {
	return fmt.Errorf("%w, not one of %s", net.UnknownNetworkError(network), strings.Join(of, ", "))
}

func newTarget(ctx context.Context, network, address string) (*target, error) {
	switch network {
	case "unix":
		return &target{
			network: network,
			kind:    "direct-streamlocal@openssh.com",
			payload: ssh.Marshal(wire.DirectStreamlocal{Path: address}),
			local:   &net.UnixAddr{Net: network},
			remote:  &net.UnixAddr{Net: network, Name: address},
		}, nil
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	if host, err = hostOf(network, host); err != nil {
		return nil, err
	}
	t := &target{
		network: network,
		kind:    "direct-tcpip",
		payload: ssh.Marshal(wire.DirectTCPIP{Host: host, Port: uint32(port), OriginHost: "127.0.0.1"}),
		local:   &net.TCPAddr{},
		remote:  nameAddr{network, net.JoinHostPort(host, strconv.Itoa(port))},
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		t.remote = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port)))
	}
	return t, nil
}

// hostOf returns the host to connect to. It refuses a host that is not of the family
// of tcp4 or tcp6.
func hostOf(network, host string) (string, error) {
	if host == "" {
		host = "localhost"
	}
	if network == "tcp" {
		return host, nil
	}
	if host == "localhost" {
		if network == "tcp4" {
			return "127.0.0.1", nil
		}
		return "::1", nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Unmap().Is4() != (network == "tcp4") {
		return "", &net.AddrError{Err: "no " + network + " address", Addr: host}
	}
	return host, nil
}

// nameAddr is an address that only the guest can resolve.
type nameAddr struct{ network, address string }

func (a nameAddr) Network() string { return a.network }
func (a nameAddr) String() string  { return a.address }

// inGuest marks an address in an error: the host has the same addresses.
type inGuest struct{ net.Addr }

func (a inGuest) String() string { return a.Addr.String() + " (guest)" }

// opError returns err as the error of an operation on the connection.
func (t *target) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: t.network, Addr: inGuest{t.remote}, Err: err}
}
