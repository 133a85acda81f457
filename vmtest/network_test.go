package vmtest

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNetworkPlan(t *testing.T) {
	n := NewNetwork(t, NetworkConfig{IPv4: netip.MustParsePrefix("192.0.2.9/29")})
	plan := func(st JoinConfig, hostname string) *Interface {
		t.Helper()
		i, err := n.plan(st, hostname, 1)
		require.NoError(t, err)
		return i
	}
	first := plan(JoinConfig{}, "")
	assert.Equal(t, "guest1", first.Host)
	assert.Equal(t, "eth1", first.Name)
	assert.Equal(t, "192.0.2.9", first.IPv4.String())
	assert.Equal(t, "fd00::1", first.IPv6.String())
	second := plan(JoinConfig{IPv4: netip.MustParseAddr("192.0.2.10")}, "box")
	assert.Equal(t, "box", second.Host)
	assert.NotEqual(t, first.HardwareAddr, second.HardwareAddr)
	third := plan(JoinConfig{Name: "other"}, "box")
	assert.Equal(t, "192.0.2.11", third.IPv4.String(), "the next one that is free")

	for name, bad := range map[string]struct {
		JoinConfig
		want string
	}{
		"name":    {JoinConfig{Name: "Box"}, `two machines have the name "Box": set Config.Hostname or JoinConfig.Name`},
		"no name": {JoinConfig{Name: "a b"}, `"a b" is not a host name (hostname(7))`},
		"address": {JoinConfig{IPv4: second.IPv4}, "two machines have the address 192.0.2.10"},
		"all":     {JoinConfig{IPv4: netip.MustParseAddr("192.0.2.15")}, "the address 192.0.2.15 is that of the subnet 192.0.2.8/29 itself, or of all in it"},
		"outside": {JoinConfig{IPv6: netip.MustParseAddr("fd01::1")}, "the address fd01::1 is not in the subnet fd00::/64"},
		"IPv4":    {JoinConfig{IPv6: first.IPv4}, "the address 192.0.2.9 is not in the subnet fd00::/64"},
	} {
		_, err := n.plan(bad.JoinConfig, "", 0)
		assert.EqualError(t, err, "join network: "+bad.want, name)
	}
	for range 3 {
		plan(JoinConfig{}, "")
	}
	_, err := n.plan(JoinConfig{}, "", 0)
	assert.EqualError(t, err, "join network: no address of 192.0.2.8/29 is free")

	n.forget(third)
	assert.Equal(t, third.IPv4, plan(JoinConfig{}, "").IPv4, "it is free again")
	require.NoError(t, n.Close())
	_, err = n.plan(JoinConfig{}, "", 0)
	assert.EqualError(t, err, "join network: the network is closed")
}

func TestNetworkConfigs(t *testing.T) {
	for _, c := range []NetworkConfig{
		{IPv4: netip.MustParsePrefix("fd00::/64")}, {IPv6: netip.MustParsePrefix("10.0.0.0/8")},
		{IPv6: netip.MustParsePrefix("::ffff:10.0.0.0/104")},
	} {
		_, err := OpenNetwork(c)
		assert.ErrorContains(t, err, "want one of IPv4 and one of IPv6")
	}
	n, same := NewNetwork(t, NetworkConfig{}), NewNetwork(t, NetworkConfig{})
	_, err := planIn(n, []*Network{n}, JoinConfig{}, "", 0)
	assert.EqualError(t, err, "join network: the machine is in this network already")
	_, err = planIn(n, []*Network{same}, JoinConfig{}, "", 0)
	assert.ErrorContains(t, err, "join network: 10.0.0.0/24 and fd00::/64 of a network that the machine is in overlap 10.0.0.0/24 and fd00::/64")
	_, err = Config{NICs: 9}.complete()
	assert.EqualError(t, err, "configure machine: 9 network interfaces: must be 8 or fewer")
	_, err = (&Template{Config: Config{Networks: []*Network{n}}}).complete(Config{})
	assert.ErrorContains(t, err, "a network is for one test")
}
