package deadline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestSlowness(t *testing.T) {
	for _, test := range []struct {
		took time.Duration
		want float64
	}{
		{workTime / 3, 1}, // deadlines are never cut
		{workTime, 1},
		{3 * workTime, 3},
		{1000 * workTime, mostSlowness},
	} {
		s := speedometer{work: func(time.Duration) time.Duration { return test.took }}
		assert.InDelta(t, test.want, s.slow(), 1e-9, "%v", test.took)
	}
}

func TestSlownessIsMeasuredOnceForDeadlinesThatStrikeTogether(t *testing.T) {
	n := 0
	s := speedometer{work: func(time.Duration) time.Duration { n++; return workTime }}
	s.slow()
	s.slow()
	assert.Equal(t, 1, n)
	s.measured = s.measured.Add(-2 * measureAgain)
	s.slow()
	assert.Equal(t, 2, n, "the load of a host changes")
}

func TestWorkIsBounded(t *testing.T) {
	assert.Positive(t, timeWork(time.Nanosecond))
	assert.Less(t, timeWork(time.Millisecond), mostSlowness*workTime)
}
