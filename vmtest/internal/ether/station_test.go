package ether

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
)

// A station on a socket, to which the sender's goroutine writes, gets all frames in their order,
// also if it reads late and takes a part of a frame at once.
func TestStationOnASocket(t *testing.T) {
	var sw Switch
	var stations [2]*Station
	var ends [2]io.ReadWriteCloser
	for n := range stations {
		ours, theirs, err := host.ConnPair("nic")
		require.NoError(t, err)
		defer theirs.Close()
		stations[n], ends[n] = NewStation(ours), theirs
		defer stations[n].Close()
		stations[n].Plug(&sw, address(byte(n)), 0)
	}
	var all []byte
	for n := range 500 {
		all = append(all, packet(address(1), address(0), fmt.Sprintf("%0*d", 1500+n%10*1000, n))...)
	}
	_, err := ends[0].Write(all)
	require.NoError(t, err)
	got := make([]byte, len(all))
	_, err = io.ReadFull(ends[1], got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(all, got), "the bytes that have arrived are those that were sent")
	assert.Zero(t, stations[1].Counters().Dropped)
}

// What a socket does not take at once may begin within a frame.
func TestPartOfAFrame(t *testing.T) {
	ours, theirs, err := host.ConnPair("nic")
	require.NoError(t, err)
	defer theirs.Close()
	require.NoError(t, ours.SetWriteBuffer(64<<10)) // the default is that of the host
	st := NewStation(ours)
	sent := []byte(strings.Repeat("0123456789", 100_000))
	rest := bytes.Join(st.now([][]byte{sent[:10], sent[10:]}), nil)
	require.NotEmpty(t, rest, "a socket with a buffer of 64 KiB takes less than 1 MB")
	st.Close()
	got, err := io.ReadAll(theirs)
	require.NoError(t, err)
	require.Greater(t, len(got), 10, "the first frame and a part of the second")
	require.True(t, bytes.Equal(sent, append(got, rest...)), "what was taken and the rest are what was sent")
}
