package vmtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkClock lets an hour pass in an idle guest.
func BenchmarkClock(b *testing.B) {
	m := machine(b, benchConfig(b, Config{}))
	defer m.Close()
	report(b, "advance_hour_s", sample(5, func() {
		require.NoError(b, m.Advance(b.Context(), time.Hour))
	}), "s")
}
