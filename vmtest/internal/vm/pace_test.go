package vm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

func TestPace(t *testing.T) {
	const s = time.Second
	before := map[int]qemu.Usage{1: {Ran: 100 * s, Waited: 50 * s}, 2: {}}
	for name, test := range map[string]struct {
		after map[int]qemu.Usage
		want  float64
	}{
		"idle":                   {map[int]qemu.Usage{1: {Ran: 100 * s, Waited: 50 * s}, 2: {}}, 1},
		"busy on an idle host":   {map[int]qemu.Usage{1: {Ran: 220 * s, Waited: 50 * s}, 2: {Ran: s}}, 1},
		"starved":                {map[int]qemu.Usage{1: {Ran: 130 * s, Waited: 140 * s}, 2: {Ran: s}}, 4},
		"starved for a while":    {map[int]qemu.Usage{1: {Ran: 110 * s, Waited: 90 * s}, 2: {}}, 1.5},
		"one thread starved":     {map[int]qemu.Usage{1: {Ran: 220 * s, Waited: 50 * s}, 2: {Waited: 60 * s}}, 2},
		"new thread starved":     {map[int]qemu.Usage{3: {Waited: 60 * s}}, 2},
		"never run":              {map[int]qemu.Usage{1: {Ran: 100 * s, Waited: 170 * s}}, mostPace},
		"QEMU gone":              {nil, 1},
		"no count of waits here": {map[int]qemu.Usage{1: {Ran: 220 * s}}, 1},
	} {
		assert.InDelta(t, test.want, pace(before, test.after, 120*s), 1e-9, name)
	}
}

// The pace of a machine is measured on its QEMU's threads.
func TestPaceOfAMachine(t *testing.T) {
	h := newFakeHost(t)
	m, _ := h.bootFake()
	assert.Contains(t, m.process.Usages(), m.Pid())
	measured := m.Pace()
	assert.GreaterOrEqual(t, measured(), 1.0)
	m.Kill()
	assert.EqualValues(t, 1, measured(), "gone")
	var none starting
	assert.EqualValues(t, 1, none.Pace()(), "not started")
}
