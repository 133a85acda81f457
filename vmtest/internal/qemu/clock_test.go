package qemu

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestClocksIn(t *testing.T) {
	const at = 64 // of the clock
	make := func(change map[int]uint64) []byte {
		data := make([]byte, 256)
		put := func(offset int, v uint64) { binary.NativeEndian.PutUint64(data[at+offset:], v) }
		put(0, 20e9)
		put(ticksField, 52e9)
		put(warpField, 1<<64-1)
		for offset, v := range change {
			put(offset, v)
		}
		return data
	}
	shows := func(d time.Duration) bool { return d == 20*time.Second }
	assert.Equal(t, []int64{at}, clocksIn(make(nil), shows))
	assert.Equal(t, []int64{at}, clocksIn(make(map[int]uint64{warpField: 0}), shows))
	for name, change := range map[string]map[int]uint64{
		"another time":             {0: 21e9},
		"no ticks":                 {ticksField: 0},
		"a guest that runs":        {enabledField: 1},
		"instructions are counted": {icountField: 7},
		"a bias":                   {biasField: 7},
		"a delta":                  {deltaField: 7},
		"a warp":                   {warpField: 7},
	} {
		assert.Empty(t, clocksIn(make(change), shows), name)
	}
	assert.Empty(t, clocksIn(make(nil)[:at+icountField], shows), "data that ends too early")
	assert.Empty(t, clocksIn(nil, shows))
}

func TestVariables(t *testing.T) {
	const maps = `55d0a0000000-55d0a0400000 r--p 00000000 08:01 42 /usr/bin/qemu
55d0a0400000-55d0a0800000 r-xp 00400000 08:01 42 /usr/bin/qemu
55d0a0800000-55d0a0900000 rw-p 00800000 08:01 42 /usr/bin/qemu
55d0a0900000-55d0a0980000 rw-p 00000000 00:00 0
55d0a1000000-55d0a1100000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000100000 rw-p 00000000 00:00 0
7f0000200000-7f0000300000 rw-p 00000000 08:01 43 /usr/lib/libc.so.6
7f0000300000-7f0000400000 rw-p 00000000 00:00 0
nonsense
`
	assert.Equal(t, []mapping{
		{0x55d0a0800000, 0x55d0a0900000},
		{0x55d0a0900000, 0x55d0a0980000},
	}, variables(maps, "/usr/bin/qemu"))
	assert.Empty(t, variables(maps, "/usr/bin/other"))
}

func TestReading(t *testing.T) {
	r := Reading{20 * time.Second, 52e9}
	assert.Equal(t, Reading{20*time.Second + time.Hour, 52e9 + 3600*26e8}, r.Later(time.Hour))
	for d := range map[time.Duration]bool{time.Millisecond: true, time.Second: true} {
		assert.True(t, r.Later(d).Follows(r), "%v later", d)
	}
	assert.False(t, r.Follows(r), "a clock that stands")
	assert.False(t, Reading{21 * time.Second, 52e9}.Follows(r), "ticks that stand")
	assert.False(t, Reading{21 * time.Second, 52e9 + 40e8}.Follows(r), "ticks that are too fast")
}
