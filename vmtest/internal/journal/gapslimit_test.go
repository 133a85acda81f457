package journal

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A guest can leave out as many entries as it likes: what is kept for each is bounded.
func TestManyGaps(t *testing.T) {
	s := of(t, 1)
	for n := range maxGaps + 1 {
		put(t, s, 2*n+3) // 2n+2 is left out
	}
	assert.Len(t, s.gaps, maxGaps)
	require.Len(t, s.losses, 1, "the one above the bound counts as lost")
	assert.Contains(t, s.losses[0].text, "an entry before ")
}

// An entry that comes again while a gap is filled is added once, and no count goes below 0.
func TestFillWithTheSameEntry(t *testing.T) {
	s := of(t, 1, 4)
	fillWith(t, s, 2, 2, 2, 3)
	assert.Equal(t, "m1 m2 m3 m4", all(t, s))
	assert.Empty(t, s.Losses(0))
	s = of(t, 1, 4)
	fillWith(t, s, 2, 2, 2)
	assert.Equal(t, []string{"an entry before 03:04:05.000 : m4 did not arrive"}, s.Losses(0))
}

// Entries of another sequence that come later than their number says leave no gap to fill.
func TestGapThatClosesItself(t *testing.T) {
	s := of(t, 1, 3)
	_, ok := s.Gap()
	require.True(t, ok)
	_, err := s.Write([]byte(export("__CURSOR", "s=u;i=2;b=b", "__REALTIME_TIMESTAMP", "1", "__MONOTONIC_TIMESTAMP", "1", "_BOOT_ID", "b", "MESSAGE", "")))
	require.NoError(t, err)
	_, ok = s.Gap()
	assert.False(t, ok)
}

func TestManySequences(t *testing.T) {
	s := NewStore()
	for n := range maxSequences {
		s.tails[strconv.Itoa(n)+"x"] = 1
	}
	put(t, s, 1)
	assert.Len(t, s.tails, maxSequences)
	require.NotEmpty(t, s.losses)
	assert.Contains(t, s.losses[0].text, "of more than 10000 sequences")
}
