package vm

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func apicText(divide, initial, current int, requests string) string {
	return fmt.Sprintf("dumping local APIC state for CPU 0\n\nTimer\t DCR=0xb (divide by %d) initial_count = %d current_count = %d\n"+
		"SPIV\t 0x000001ff\nISR\t (none)\nIRR\t %s\n\nAPR 0x00\n", divide, initial, current, requests)
}

func TestParseAPIC(t *testing.T) {
	const none = "(none)"
	for _, test := range []struct {
		text         string
		next         time.Duration
		set, pending bool
	}{
		{apicText(16, 1000, 250, none), 4 * time.Microsecond, true, false},
		{apicText(1, 1000, 0, none), 0, true, false},
		{apicText(1, 0, 0, none), 0, false, false},
		{apicText(1, 1000, 1, "36 236(level) "), 1, true, true},
	} {
		next, set, pending, err := parseAPIC(test.text)
		require.NoError(t, err)
		assert.Equal(t, test.next, next, test.text)
		assert.Equal(t, test.set, set, test.text)
		assert.Equal(t, test.pending, pending, test.text)
	}
	for _, text := range []string{"", "no lapic\x1b[31m", apicText(1, 1<<40, 1, none), apicText(1, 1, 1, "none")} {
		_, _, _, err := parseAPIC(text)
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

func TestGuestTime(t *testing.T) {
	var m Machine
	now := time.Now()
	assert.Equal(t, now, m.GuestTime(now))
	m.clock.begin(time.Time{})
	assert.Equal(t, now, m.GuestTime(now))
	m.clock.changes = []clockChange{{now, time.Hour}, {now.Add(time.Second), -time.Hour}}
	for host, ahead := range map[time.Duration]time.Duration{
		-time.Second: time.Hour, 0: time.Hour, time.Millisecond: time.Hour, time.Second: -time.Hour, time.Minute: -time.Hour,
	} {
		assert.Equal(t, now.Add(host+ahead), m.GuestTime(now.Add(host)), "%v later", host)
	}
}
