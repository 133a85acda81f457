package wire_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

func TestParseVsock(t *testing.T) {
	for address, want := range map[string][2]uint32{"9091": {1, 9091}, "1:9091": {1, 9091}, "4294967295:0": {1<<32 - 1, 0}} {
		cid, port, err := wire.ParseVsock(address)
		assert.NoError(t, err, address)
		assert.Equal(t, want, [2]uint32{cid, port}, address)
	}
	for address, want := range map[string]string{
		"": "the port is", ":9091": "the CID is", "1:": "the port is", "1:2:3": "the port is", "vsock::9091": "the CID is",
		"127.0.0.1:80": "the CID is", "-1:80": "the CID is", "4294967296:80": "the CID is", "1:x": "the port is",
	} {
		_, _, err := wire.ParseVsock(address)
		assert.ErrorContains(t, err, want, address)
		assert.ErrorContains(t, err, "want CID:PORT or PORT", address)
	}
}
