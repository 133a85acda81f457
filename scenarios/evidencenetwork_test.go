package scenarios

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest"
	"example.org/systemd-vmtest/vmtest/netstack"
)

// The directory of a failed test has the frames of its guest's networks, as a pcapng file that
// tcpdump(8) and Wireshark open, and a summary of each interface.
func TestEvidenceOfANetwork(t *testing.T) {
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	config := vmtest.Config{Hostname: "server", Networks: []*vmtest.Network{n}}
	files, _ := evidenceFilesOf(t, config, func(g *vmtest.Guest) {
		copyUnits(t, g, "testdata/network-doc/units")
		g.Unit("echo.socket").Start(t)
		dialFrom(t, netstack.Start(t, n, vmtest.JoinConfig{}), "tcp", "server:9091").echo(t, "seen in the capture")
	})
	capture := files["eth0-server.pcapng"]
	assert.Regexp(t, `(?s)^\x0a\x0d\x0d\x0a.{4}(\x4d\x3c\x2b\x1a|\x1a\x2b\x3c\x4d)`, capture, "a section header")
	assert.Contains(t, capture, "seen in the capture\n")
	assert.Regexp(t, `^eth0 \(server\): 52:54:0a:00:00:01, 10\.0\.0\.1, fd00::1; .*[1-9]\d* frames of the network captured, 0 earlier ones left out`, files["network.txt"])
}
