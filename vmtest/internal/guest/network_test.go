package guest

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNetwork(t *testing.T) {
	n := Network{
		Interfaces: []Interface{
			{NIC: 0, Address: [6]byte{2, 0, 0, 0, 0, 1}, IPv4: netip.MustParsePrefix("10.0.0.1/24"), IPv6: netip.MustParsePrefix("fd00::1/64")},
			{NIC: 7, Address: [6]byte{2, 0, 0, 0, 0, 2}, IPv4: netip.MustParsePrefix("10.1.0.1/16"), IPv6: netip.MustParsePrefix("fd01::1/48")},
		},
		Hosts: []Host{{"box", netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}},
	}
	n.Interfaces = append(n.Interfaces, Interface{NIC: 3, Down: true})
	data, err := n.Marshal()
	require.NoError(t, err)
	list, hosts, err := parseNetwork(data)
	require.NoError(t, err)
	assert.Equal(t, n.Interfaces, list)
	assert.Equal(t, "10.0.0.1 box # network of the test\nfd00::1 box # network of the test\n", string(hosts))

	for _, size := range []int{0, 1, interfaceSize} {
		_, _, err = parseNetwork(data[:size])
		assert.EqualError(t, err, "set network: the request is cut off")
	}
	n.Hosts = make([]Host, 2000)
	_, err = n.Marshal()
	assert.EqualError(t, err, "tell the guest about its networks: 2000 machines are too many")
}

func TestWriteHosts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	require.NoError(t, writeHosts(path, []byte("10.0.0.1 a # network of the test\n")), "no file yet")
	require.NoError(t, os.WriteFile(path, []byte("127.0.0.1 localhost\n10.0.0.1 a # network of the test\n::1 mine"), 0o644))
	require.NoError(t, writeHosts(path, []byte("10.0.0.2 b # network of the test\n")))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1 localhost\n::1 mine\n10.0.0.2 b # network of the test\n", string(text))
}
