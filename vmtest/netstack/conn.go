package netstack

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
)

// Dial connects to an address in the network, as net.Dialer does. The network is "tcp", "tcp4",
// "tcp6", "udp", "udp4" or "udp6". The host of the address is an IP address or the name of a
// machine, which means IPv4 where the network leaves that open.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, transport, protocol, err := h.resolve(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if transport == "udp" {
		return gonet.DialUDP(h.stack, nil, &to, protocol)
	}
	return gonet.DialContextTCP(ctx, h.stack, to, protocol)
}

// Listen listens for TCP in the network, as net.Listen does. An address without a host is that
// of the Host.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	at, transport, protocol, err := h.resolve(network, address)
	if err == nil && transport != "tcp" {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return gonet.ListenTCP(h.stack, at, protocol)
}

// ListenPacket listens for UDP in the network, as net.ListenPacket does.
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	at, transport, protocol, err := h.resolve(network, address)
	if err == nil && transport != "udp" {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return gonet.DialUDP(h.stack, &at, nil, protocol)
}

// resolve returns the address in the stack, "tcp" or "udp", and the protocol below that.
func (h *Host) resolve(network, address string) (a tcpip.FullAddress, transport string, protocol tcpip.NetworkProtocolNumber, err error) {
	version := byte('4')
	switch network {
	case "tcp", "udp":
		transport = network
	case "tcp4", "tcp6", "udp4", "udp6":
		transport, version = network[:3], network[3]
	default:
		return a, "", 0, net.UnknownNetworkError(network)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return a, "", 0, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return a, "", 0, &net.AddrError{Err: "invalid port", Addr: address}
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Is6() && network == transport:
		version = '6'
	case err == nil:
	case host == "" && version == '6':
		ip = h.IPv6
	case host == "":
		ip = h.IPv4
	default:
		v4, v6, ok := h.network.Lookup(host)
		if !ok {
			return a, "", 0, &net.DNSError{Err: "no machine of the network has this name", Name: host, IsNotFound: true}
		}
		if ip = v4; version == '6' {
			ip = v6
		}
	}
	if ip.Is6() != (version == '6') {
		return a, "", 0, &net.AddrError{Err: fmt.Sprintf("no address of IPv%c", version), Addr: address}
	}
	protocol = ipv4.ProtocolNumber
	if ip.Is6() {
		protocol = ipv6.ProtocolNumber
	}
	return tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFromSlice(ip.AsSlice()), Port: uint16(number)}, transport, protocol, nil
}
