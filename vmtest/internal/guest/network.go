package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
)

// NetworkRequest is the name of the control request that sets addresses and names. Its payload
// is a Network.
const NetworkRequest = "network"

// Network is what a guest knows of the networks that it is in.
type Network struct {
	Interfaces []Interface // to set; others stay
	Hosts      []Host      // all that the guest knows, in all its networks
}

// Interface is a network interface of the machine with the addresses that it gets. The kernel
// calls NIC 0 eth0.
type Interface struct {
	NIC        uint8 // from 0
	Down       bool  // and nothing else: the interface has no addresses
	Address    [6]byte
	IPv4, IPv6 netip.Prefix
}

// InterfaceName returns the guest's name of a NIC.
func InterfaceName(nic int) string { return "eth" + strconv.Itoa(nic) }

// Host is a machine in a network.
type Host struct {
	Name       string
	IPv4, IPv6 netip.Addr
}

// maxNetwork bounds a Network, in bytes.
const maxNetwork = 60 << 10

// Marshal returns the network as the agent reads it. It is no JSON, which is much code in a
// fork.
func (n Network) Marshal() ([]byte, error) {
	data := []byte{byte(len(n.Interfaces))}
	for _, i := range n.Interfaces {
		var v4 [4]byte
		var v6 [16]byte
		nic := i.NIC
		if i.Down {
			nic |= down
		} else {
			v4, v6 = i.IPv4.Addr().As4(), i.IPv6.Addr().As16()
		}
		data = append(append(data, nic), i.Address[:]...)
		data = append(append(data, v4[:]...), byte(i.IPv4.Bits()))
		data = append(append(data, v6[:]...), byte(i.IPv6.Bits()))
	}
	for _, h := range n.Hosts {
		for _, a := range []netip.Addr{h.IPv4, h.IPv6} {
			data = append(data, a.String()+" "+h.Name+hostMark...)
		}
	}
	if len(data) > maxNetwork {
		return nil, fmt.Errorf("tell the guest about its networks: %d machines are too many", len(n.Hosts))
	}
	return data, nil
}

// down is set in the number of the NIC of an interface that is down.
const down = 0x80

// interfaceSize is the size of an interface in a marshalled Network.
const interfaceSize = 1 + 6 + 4 + 1 + 16 + 1

// parseNetwork returns the interfaces of a marshalled Network, and its lines for /etc/hosts.
func parseNetwork(data []byte) (list []Interface, hosts []byte, err error) {
	if len(data) == 0 || len(data) < 1+int(data[0])*interfaceSize {
		return nil, nil, errors.New("set network: the request is cut off")
	}
	n := int(data[0])
	data = data[1:]
	for range n {
		if data[0]&down != 0 {
			list = append(list, Interface{NIC: data[0] &^ down, Down: true})
			data = data[interfaceSize:]
			continue
		}
		list = append(list, Interface{
			NIC: data[0], Address: [6]byte(data[1:7]),
			IPv4: netip.PrefixFrom(netip.AddrFrom4([4]byte(data[7:11])), int(data[11])),
			IPv6: netip.PrefixFrom(netip.AddrFrom16([16]byte(data[12:28])), int(data[28])),
		})
		data = data[interfaceSize:]
	}
	return list, data, nil
}

// setNetwork applies a marshalled Network. ready may be nil.
func setNetwork(data []byte, ready *readyNetwork) error {
	list, hosts, err := parseNetwork(data)
	if err != nil {
		return err
	}
	for _, i := range list {
		apply := i.apply
		if index, ok := ready.index(i.NIC); ok && !i.Down {
			apply = func() error { return i.applyDown(ready.sockets, index) }
		}
		if err := apply(); err != nil {
			return fmt.Errorf("set network interface %s: %w", InterfaceName(int(i.NIC)), err)
		}
	}
	if ready != nil && ready.hosts != nil {
		err = ready.hosts.add(hosts)
	} else {
		err = writeHosts(hostsFile, hosts)
	}
	if err != nil {
		return fmt.Errorf("write names of hosts: %w", err)
	}
	return nil
}

const hostsFile = "/etc/hosts"

// hostMark ends each line of /etc/hosts that the agent has written.
const hostMark = " # network of the test\n"

// writeHosts puts lines in the place of those that an earlier call wrote into a file in the
// format of hosts(5).
func writeHosts(path string, lines []byte) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var text []byte
	for line := range bytes.Lines(old) {
		if !bytes.HasSuffix(line, []byte(hostMark)) {
			text = append(text, line...)
		}
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	// Not in place: a lookup meanwhile would see half of it.
	if err := os.WriteFile(path+".new", append(text, lines...), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
