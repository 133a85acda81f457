package ether

import (
	"bytes"
	"net"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reachable returns the size of what is reachable, in bytes.
func reachable() int64 {
	runtime.GC()
	runtime.GC() // for what finalizers and pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A small frame that a station or the capture keeps does not keep what arrived with it.
func TestSmallFramesHoldLittleMemory(t *testing.T) {
	toItself := packet(address(1), address(1), string(make([]byte, 60_000)))
	for name, bulk := range map[string][]byte{
		"behind frames to the sender": bytes.Repeat(toItself, 2),
		"behind runts":                bytes.Repeat([]byte{0, 0, 0, 4, 1, 2, 3, 4}, 15_000),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sw Switch
				a := plug(t, &sw, 1)
				ours, theirs := net.Pipe()
				defer theirs.Close()
				stuck := NewStation(ours)
				defer stuck.Close()
				stuck.Plug(&sw, address(2), 0)
				stream := append(packet(address(2), address(1), "small"), bulk...)
				before := reachable()
				for range 300 {
					_, err := a.conn.Write(stream)
					require.NoError(t, err)
				}
				synctest.Wait()
				assert.Less(t, reachable()-before, int64(2*maxCaptured), "of 36 MB that were sent")
				assert.Zero(t, stuck.Counters().Dropped)
			})
		})
	}
}
