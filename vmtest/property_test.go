package vmtest

import (
	"math"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// A time span is one, whatever systemd counts it in, and no other number is.
func TestTimeSpans(t *testing.T) {
	for _, test := range []struct {
		property string
		number   uint64
		span     time.Duration
	}{
		{"TimeoutStopUSec", 90_000_000, 90 * time.Second},
		{"TimerSlackNSec", 50_000, 50 * time.Microsecond},
		{"TimeoutStopUSec", math.MaxUint64, math.MaxInt64},
	} {
		var span time.Duration
		require.NoError(t, store(test.property, godbus.MakeVariant(test.number), &span), test.property)
		assert.Equal(t, test.span, span, test.property)
		number, err := asNumber(test.property, test.span)
		require.NoError(t, err, test.property)
		assert.Equal(t, test.number, number, test.property)
		same, err := systemd.Equal(godbus.MakeVariant(test.number), number)
		assert.NoError(t, err, test.property)
		assert.True(t, same, test.property)
		assert.Equal(t, test.span, like(test.property, test.number, time.Second))
		assert.Equal(t, test.number, like(test.property, test.number, 1))
	}
	var span time.Duration
	assert.EqualError(t, store("TasksMax", godbus.MakeVariant(uint64(7)), &span), "TasksMax is no time span: its name ends neither in USec nor in NSec")
	assert.EqualError(t, store("TimeoutStopUSec", godbus.MakeVariant(uint64(1)<<63), &span), "9223372036854775808 times 1µs does not fit into a time.Duration")
	assert.ErrorContains(t, store("DescriptionUSec", godbus.MakeVariant("x"), &span), "value of D-Bus type s does not fit")
	_, err := asNumber("TasksMax", time.Second)
	assert.ErrorContains(t, err, "TasksMax is no time span")
	_, err = asNumber("TimeoutStopUSec", time.Nanosecond)
	assert.EqualError(t, err, "TimeoutStopUSec cannot be 1ns, because it counts units of 1µs")
	assert.EqualError(t, &UnequalError{"a.service", "Description", "b", "a\x1b[2J"}, "Description of a.service is a, want b")
}
