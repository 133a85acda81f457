package vmtest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// guestSocket describes the sockets at a local address in the guest, as ss(8) lists them.
type guestSocket struct {
	Local    string // address, as ss has it
	Wildcard bool   // it listens on every address
	Owners   string // the lines of ss, which name the processes
}

// socketsAt returns the sockets that serve an address in the guest: those at the address
// itself, and those that listen on every address unless one listens on this one.
func (m *Machine) socketsAt(ctx context.Context, network, address string) ([]guestSocket, error) {
	list := []string{"ss", "--no-header", "--all", "--processes", "--numeric"}
	switch network {
	case "unix", "unixgram", "unixpacket":
		out, err := m.Run(ctx, append(list, "--unix")...)
		return unixSockets(out, address), err
	case "vsock":
		out, err := m.Run(ctx, append(list, "--vsock")...)
		return vsockSockets(out, address[strings.LastIndexByte(address, ':')+1:]), err
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		transport, family := network[:3], network[3:]
		hosts, err := m.addressesOf(ctx, "tcp"+family, host)
		if err != nil {
			return nil, err
		}
		out, err := m.Run(ctx, append(list, "--"+transport, "sport", "=", ":"+port)...)
		return portSockets(out, hosts), err
	}
	return nil, fmt.Errorf("look up socket: network %q is not tcp, udp, unix or vsock", network)
}

// unixSockets returns the socket at a path or at an @abstract name in the output of ss. A
// filter of ss would take the address as a pattern, and ignore case.
func unixSockets(out, address string) []guestSocket {
	at := regexp.MustCompile(`\s` + regexp.QuoteMeta(address) + `\s+\d+\s`)
	there := guestSocket{Local: address}
	for line := range strings.Lines(out) {
		if at.MatchString(line) {
			there.Owners += line
		}
	}
	if there.Owners == "" {
		return nil
	}
	return []guestSocket{there}
}

// vsockSockets returns the sockets at a port of vsock(7) in the output of ss.
func vsockSockets(out, port string) []guestSocket {
	there := guestSocket{Local: port}
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasSuffix(fields[len(fields)-3], ":"+port) {
			there.Owners += line
		}
	}
	if there.Owners == "" {
		return nil
	}
	return []guestSocket{there}
}

// portSockets returns the sockets that serve one of the addresses hosts, of those in the
// output of ss for one port.
func portSockets(out string, hosts []netip.Addr) []guestSocket {
	var there guestSocket
	var everywhere []guestSocket
	taken := make(map[netip.Addr]bool) // hosts with a listener of their own
	for line := range strings.Lines(out) {
		fields := strings.Fields(line) // state, two queues, local address, peer
		if len(fields) < 5 {
			continue
		}
		listening, local := fields[0] == "LISTEN" || fields[0] == "UNCONN", fields[3] // the last of UDP
		if addr := localAddr(local); slices.Contains(hosts, addr) {
			there.Local, there.Owners = local, there.Owners+line
			taken[addr] = taken[addr] || listening
		} else if listening {
			everywhere = append(everywhere, guestSocket{local, true, line})
		}
	}
	// The kernel prefers the listener of the address itself.
	everywhere = slices.DeleteFunc(everywhere, func(s guestSocket) bool {
		return !slices.ContainsFunc(hosts, func(host netip.Addr) bool { return serves(s.Local, host) && !taken[host] })
	})
	if there.Owners == "" {
		return everywhere
	}
	return append([]guestSocket{there}, everywhere...)
}

// localAddr returns the address in what ss has as ADDRESS:PORT. It is not valid for "*".
func localAddr(local string) netip.Addr {
	host, _, _ := strings.Cut(local[:max(0, strings.LastIndexByte(local, ':'))], "%")
	addr, _ := netip.ParseAddr(strings.Trim(host, "[]"))
	return addr.Unmap()
}

// serves reports whether a socket that listens on what ss has as local serves all addresses
// of the family of host. "*" is both families, [::] is IPv6 alone.
func serves(local string, host netip.Addr) bool {
	addr := localAddr(local)
	if !addr.IsValid() {
		return strings.HasPrefix(local, "*")
	}
	return addr.IsUnspecified() && addr.Is4() == host.Is4()
}

// addressesOf returns the addresses in the guest that a connection to host may have been
// made to.
func (m *Machine) addressesOf(ctx context.Context, network, host string) ([]netip.Addr, error) {
	loopback := map[string][]netip.Addr{"tcp4": {netip.MustParseAddr("127.0.0.1")}, "tcp6": {netip.IPv6Loopback()}}
	loopback["tcp"] = append(loopback["tcp4"], loopback["tcp6"]...)
	if host == "" || host == "localhost" {
		return loopback[network], nil
	}
	addr, err := netip.ParseAddr(host)
	switch addr = addr.Unmap().WithZone(""); {
	case err == nil && addr.IsUnspecified() && addr.Is4(): // as connect(2) takes it
		return loopback["tcp4"], nil
	case err == nil && addr.IsUnspecified():
		return loopback["tcp6"], nil
	case err == nil:
		return []netip.Addr{addr}, nil
	}
	out, err := m.Run(ctx, "getent", "ahosts", host)
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for line := range strings.Lines(out) {
		text, _, _ := strings.Cut(line, " ")
		if addr, err := netip.ParseAddr(text); err == nil {
			all = append(all, addr.Unmap().WithZone(""))
		}
	}
	return all, nil
}
