package journal

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// torn returns an entry that is dropped because not all of its fields arrived.
func torn(n int) string { return strings.Replace(export(stamped(n)...), c(n), c(n)+";x=1", 1) }

// ofSequence returns an entry of another sequence in the boot of stamped.
func ofSequence(sequence string, n int) string {
	cursor := fmt.Sprintf("s=%s;i=%x;b=b", sequence, n)
	return export("__CURSOR", cursor, "__REALTIME_TIMESTAMP", "1", "__MONOTONIC_TIMESTAMP", "1", "_BOOT_ID", "b",
		"MESSAGE", fmt.Sprintf("%s-%d", sequence, n))
}

func write(t *testing.T, w io.Writer, entries ...string) {
	t.Helper()
	_, err := io.WriteString(w, strings.Join(entries, ""))
	require.NoError(t, err)
}

// The entries of a gap stand in their order if the entries after several gaps were dropped.
func TestGapsBeforeDroppedEntries(t *testing.T) {
	s := of(t, 1, 2)
	write(t, s, torn(5), torn(9))
	put(t, s, 12)
	fillWith(t, s, 3, 4, 6, 7, 8, 10, 11)
	assert.Equal(t, "m1 m2 m3 m4 m6 m7 m8 m10 m11 m12", all(t, s))
	assert.Len(t, s.Losses(0), 2, "the entries that were dropped")
}

// Two counters of a boot may have gaps with the same numbers.
func TestGapsOfTwoCounters(t *testing.T) {
	s := NewStore()
	for _, sequence := range []string{"1", "2"} {
		write(t, s, ofSequence(sequence, 1), ofSequence(sequence, 2), ofSequence(sequence, 5))
	}
	assert.Len(t, s.Losses(0), 2)
	require.NoError(t, s.Fill(func(w io.Writer) error {
		write(t, w, ofSequence("1", 3), ofSequence("1", 4), ofSequence("2", 3))
		return nil
	}))
	assert.Equal(t, "1-1 1-2 1-3 1-4 1-5 2-1 2-2 2-3 2-5", all(t, s))
	assert.Equal(t, []string{"an entry before 00:00:00.000 : 2-5 did not arrive"}, s.Losses(0))
}

// Entries with another counter do not close a gap.
func TestGapOfTheFirstCounter(t *testing.T) {
	s := NewStore()
	write(t, s, ofSequence("1", 1), ofSequence("1", 4))
	for n := range 4 {
		write(t, s, ofSequence("2", n+1))
	}
	assert.Equal(t, []string{"2 entries before 00:00:00.000 : 1-4 did not arrive"}, s.Losses(0))
}
