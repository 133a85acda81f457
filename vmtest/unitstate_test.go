package vmtest

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestUnitState(t *testing.T) {
	s := unitState(map[string]any{
		"Id": "a.service", "LoadState": "loaded", "ActiveState": "failed", "SubState": "failed", "Result": "signal",
		"UnitFileState": "enabled", "Job": []any{uint32(7), "/"}, "InvocationID": []byte{0xab, 1}, "StatusText": "ready",
		"MainPID": uint32(12), "NRestarts": uint32(2), "ExecMainCode": int32(3), "ExecMainStatus": int32(11),
		"CPUUsageNSec": uint64(5e6), "MemoryCurrent": uint64(4096), "MemoryPeak": uint64(math.MaxUint64),
	})
	assert.Equal(t, UnitState{
		Name: "a.service", LoadState: "loaded", ActiveState: "failed", SubState: "failed", Result: "signal",
		UnitFileState: "enabled", JobID: 7, InvocationID: "ab01", StatusText: "ready",
		MainPID: 12, NRestarts: 2, ExitCode: -1, Signal: "SEGV", CoreDumped: true,
		CPUUsage: 5 * time.Millisecond, MemoryCurrent: 4096, MemoryPeak: -1, TasksCurrent: -1,
	}, s)
	assert.Equal(t, "a.service is failed (failed), result signal, signal SEGV (core dumped), has job 7, NRestarts 2", s.String())

	s = unitState(map[string]any{
		"Id": "a.socket", "LoadState": "masked", "LoadError": []any{"name", "Unit a.socket is masked."}, "ActiveState": "active", "SubState": "listening\x1b",
		"Listen": [][]any{{"Stream", "/run/a"}, {"Datagram", "127.0.0.1:9"}}, "NAccepted": uint32(3), "NConnections": uint32(2), "NRefused": uint32(1),
	})
	assert.Equal(t, []ListenAddress{{"Stream", "/run/a"}, {"Datagram", "127.0.0.1:9"}}, s.Listen)
	assert.Equal(t, "/run/a (Stream)", s.Listen[0].String())
	assert.Equal(t, [3]int{3, 2, 1}, [3]int{s.NAccepted, s.NConnections, s.NRefused})
	assert.Equal(t, "Unit a.socket is masked.", s.LoadError)
	assert.Equal(t, "a.socket is active (listening\uFFFD), masked, NAccepted 3, NConnections 2, NRefused 1", s.String())
}
