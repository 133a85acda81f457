package wire_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

func TestPack(t *testing.T) {
	for _, list := range [][]string{nil, {""}, {"a", "", "b\x00c", "\xff\xfe"}} {
		got, err := wire.Unpack(wire.Pack(list))
		require.NoError(t, err)
		assert.Equal(t, list, got)
	}
	for _, torn := range []string{"\x00", "\x00\x00\x00\x02a", "\xff\xff\xff\xffa"} {
		_, err := wire.Unpack(torn)
		assert.Error(t, err, "%q", torn)
	}
}
