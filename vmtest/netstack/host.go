// Package netstack puts the test itself into a network of machines, with an IP stack of its own
// (gVisor's): it dials and listens there as package net does, and needs no privilege and no
// network of the host.
//
//	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
//	server := vmtest.Start(t, vmtest.Config{Hostname: "server", Networks: []*vmtest.Network{n}})
//	peer := netstack.Start(t, n, vmtest.JoinConfig{Name: "peer"})
//	conn, err := peer.Dial(t.Context(), "tcp", "server:9091")
package netstack

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"example.org/systemd-vmtest/vmtest"
)

// Host is the test as a station of a network. Its methods may be called from several
// goroutines. The caller closes it.
type Host struct {
	*vmtest.Interface

	network *vmtest.Network
	conn    net.Conn // frames, as for vmtest.Network.Attach
	stack   *stack.Stack
	link    *channel.Endpoint
	end     context.CancelFunc
	tasks   sync.WaitGroup
}

const (
	nicID  = 1
	mtu    = 1500
	queued = 1024 // frames from the stack
)

// Start puts the test into a network until it ends.
func Start(t testing.TB, n *vmtest.Network, st vmtest.JoinConfig) *Host {
	t.Helper()
	h, err := Open(t.Context(), n, st)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// Open puts this process into a network. The caller closes the Host.
func Open(ctx context.Context, n *vmtest.Network, st vmtest.JoinConfig) (*Host, error) {
	ours, theirs := net.Pipe()
	i, err := n.Attach(ctx, theirs, st)
	if err != nil {
		return nil, err
	}
	h := &Host{Interface: i, network: n, conn: ours}
	h.stack = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			arp.NewProtocol, ipv4.NewProtocol,
			// No other station has the address, so the stack does not look for one.
			ipv6.NewProtocolWithOptions(ipv6.Options{DADConfigs: stack.DADConfigurations{DupAddrDetectTransmits: 0}}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{
			tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6,
		},
	})
	h.link = channel.New(queued, mtu, tcpip.LinkAddress(i.HardwareAddr))
	if err := h.configure(); err != nil {
		h.Close()
		return nil, fmt.Errorf("join network: %w", err)
	}
	ctx, h.end = context.WithCancel(context.WithoutCancel(ctx))
	h.tasks.Go(func() { h.receive() })
	h.tasks.Go(func() { h.send(ctx) })
	return h, nil
}

// configure gives the stack its interface, addresses and routes.
func (h *Host) configure() error {
	if err := h.stack.CreateNIC(nicID, ethernet.New(h.link)); err != nil {
		return fmt.Errorf("create interface: %v", err)
	}
	var routes []tcpip.Route
	for _, p := range []netip.Prefix{h.Subnet4(), h.Subnet6()} {
		protocol, own := ipv4.ProtocolNumber, h.IPv4
		if p.Addr().Is6() {
			protocol, own = ipv6.ProtocolNumber, h.IPv6
		}
		address := tcpip.ProtocolAddress{Protocol: protocol, AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: tcpip.AddrFromSlice(own.AsSlice()), PrefixLen: p.Bits(),
		}}
		if err := h.stack.AddProtocolAddress(nicID, address, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("add address %v: %v", own, err)
		}
		routes = append(routes, tcpip.Route{Destination: address.AddressWithPrefix.Subnet(), NIC: nicID})
	}
	h.stack.SetRouteTable(routes)
	sack := tcpip.TCPSACKEnabled(true)
	if err := h.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack); err != nil {
		return fmt.Errorf("set up TCP: %v", err)
	}
	return nil
}

// receive gives the stack what comes from the network.
func (h *Host) receive() {
	r := bufio.NewReaderSize(h.conn, 64<<10)
	for {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
		h.link.InjectInbound(header.Ethernet(frame).Type(), packet)
		packet.DecRef()
	}
}

// send gives the network what comes from the stack.
func (h *Host) send(ctx context.Context) {
	for {
		packet := h.link.ReadContext(ctx)
		if packet == nil {
			return
		}
		frame := packet.ToView().AsSlice()
		_, err := h.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
		packet.DecRef()
		if err != nil {
			return
		}
	}
}

// Close takes the host out of the network, without notice to its peers.
func (h *Host) Close() error {
	if h.end != nil {
		h.end()
	}
	err := h.conn.Close()
	h.tasks.Wait()
	h.link.Close()
	h.stack.Destroy()
	return err
}
