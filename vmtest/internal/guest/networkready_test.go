package guest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOpenHosts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	for _, old := range []string{"127.0.0.1 localhost\n", "127.0.0.1 localhost"} {
		require.NoError(t, os.WriteFile(path, []byte(old), 0o644))
		h, err := openHostsFile(path)
		require.NoError(t, err)
		require.NoError(t, h.add([]byte("10.0.0.1 a"+hostMark)))
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, "127.0.0.1 localhost\n10.0.0.1 a"+hostMark, string(text))
		assert.Equal(t, -1, h.fd, "the file is closed")
	}
	_, err := openHostsFile(path)
	assert.EqualError(t, err, "it has names of an earlier network")
	_, err = openHostsFile(path + ".none")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestReadyNetwork(t *testing.T) {
	var none *readyNetwork
	_, ok := none.index(0)
	assert.False(t, ok)
	r := &readyNetwork{indexes: []int32{2, 0}}
	index, ok := r.index(0)
	assert.True(t, ok)
	assert.Equal(t, int32(2), index)
	for _, nic := range []uint8{1, 2} {
		_, ok = r.index(nic)
		assert.False(t, ok, "NIC %d is not ready", nic)
	}
}
