package vm

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func lapicText(divide, initial, current int) string {
	return fmt.Sprintf("dumping local APIC state for CPU 0\n\nTimer\t DCR=0xb (divide by %d) initial_count = %d current_count = %d\nSPIV\t 0x000001ff\n", divide, initial, current)
}

func TestParseTimer(t *testing.T) {
	for _, test := range []struct {
		text string
		next time.Duration
		set  bool
	}{
		{lapicText(16, 1000, 250), 4 * time.Microsecond, true},
		{lapicText(1, 1000, 0), 0, true},
		{lapicText(1, 0, 0), 0, false},
	} {
		next, set, err := parseTimer(test.text)
		require.NoError(t, err)
		assert.Equal(t, test.next, next, test.text)
		assert.Equal(t, test.set, set, test.text)
	}
	for _, text := range []string{"", "no lapic\x1b[31m", lapicText(1, 1<<40, 1)} {
		_, _, err := parseTimer(text)
		assert.ErrorContains(t, err, "not understood")
		assert.NotContains(t, err.Error(), "\x1b")
	}
}

// The timer of ACPI has 24 bits at 3.579545 MHz, so it wraps each 4.7 s.
func TestPowerTicks(t *testing.T) {
	assert.Equal(t, uint32(0), powerTicks(0))
	assert.Equal(t, uint32(3579545), powerTicks(time.Second))
	assert.Equal(t, uint32(5*3579545-1<<24), powerTicks(5*time.Second))
	const year = 365 * 24 * 3600
	want := uint64(year) * 3579545 & powerMask
	assert.Equal(t, uint32(want), powerTicks(year*time.Second))
}

func TestCheckClock(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC),
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC),
		time.Date(2232, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		assert.NoError(t, CheckClock(at))
	}
	for _, at := range []time.Time{
		time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC),
		time.Date(2262, 4, 12, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		assert.ErrorContains(t, CheckClock(at), "its kernel takes times from 1970-01-01 to 2232-")
	}
}
