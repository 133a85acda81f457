package journal

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// restored returns the store of a record of s that has been in a file.
func restored(t *testing.T, s *Store) *Store {
	t.Helper()
	r, err := s.Record()
	require.NoError(t, err)
	data, err := json.Marshal(r)
	require.NoError(t, err)
	var read Record
	require.NoError(t, json.Unmarshal(data, &read))
	again, err := Restore(read)
	require.NoError(t, err)
	return again
}

// A restored store has the gaps before entries that were dropped, and fills them in their places.
func TestRecordOfGapsBeforeDroppedEntries(t *testing.T) {
	s := of(t, 1, 2)
	write(t, s, torn(5), torn(9))
	before := restored(t, s)
	for _, s := range []*Store{s, before} {
		put(t, s, 12)
	}
	for name, s := range map[string]*Store{"the store": s, "before the end": before, "at the end": restored(t, s), "twice": restored(t, restored(t, s))} {
		assert.Equal(t, []string{
			"an entry was dropped: not all of its fields arrived", "an entry was dropped: not all of its fields arrived",
			"2 entries before an entry that was dropped did not arrive", "3 entries before an entry that was dropped did not arrive",
			"2 entries before 03:04:05.000 : m12 did not arrive",
		}, s.Losses(0), name)
		cursor, ok := s.Gap()
		assert.True(t, ok, name)
		assert.Equal(t, c(2), cursor, name)
		assert.NoError(t, s.WaitTails(t.Context(), []Place{{"1", 9}}), name)
		fillWith(t, s, 3, 4, 6, 7, 8, 10, 11)
		assert.Equal(t, "m1 m2 m3 m4 m6 m7 m8 m10 m11 m12", all(t, s), name)
		assert.Len(t, s.Losses(0), 2, name)
	}
}

// A gap that comes while others are filled stays behind them in a record.
func TestRecordOfAGapThatComesLate(t *testing.T) {
	s := of(t, 1, 2)
	write(t, s, torn(5))
	require.NoError(t, s.Fill(func(w io.Writer) error {
		write(t, s, torn(8))
		write(t, w, export(stamped(3, "MESSAGE", "m3")...), export(stamped(4, "MESSAGE", "m4")...))
		return nil
	}))
	for _, s := range []*Store{restored(t, s), s} {
		fillWith(t, s, 6, 7)
		assert.Equal(t, "m1 m2 m3 m4 m6 m7", all(t, s))
	}
}

// A restored store tells counters apart.
func TestRecordOfTwoCounters(t *testing.T) {
	s := NewStore()
	for _, sequence := range []string{"1", "2"} {
		write(t, s, ofSequence(sequence, 1), ofSequence(sequence, 4))
	}
	s = restored(t, s)
	write(t, s, ofSequence("1", 6))
	require.NoError(t, s.Fill(func(w io.Writer) error {
		write(t, w, ofSequence("1", 2), ofSequence("1", 3), ofSequence("1", 5), ofSequence("2", 2))
		return nil
	}))
	assert.Equal(t, "1-1 1-2 1-3 1-4 2-1 2-2 2-4 1-5 1-6", all(t, s))
	assert.Len(t, s.Losses(0), 1)
}

// Gaps of a boot that has ended are still those of its counters.
func TestRecordOfAnotherBoot(t *testing.T) {
	s := of(t, 1, 4)
	write(t, s, strings.ReplaceAll(ofSequence("2", 1), "=b\n", "=z\n"))
	s = restored(t, s)
	fillWith(t, s, 2, 3)
	entries, _ := s.Since(0, 9)
	assert.Equal(t, "m1 m2 m3 m4 2-1", messages(entries))
	assert.Empty(t, s.Losses(0))
}

// A gap among entries for which a record has no room is not in it.
func TestRecordOfLateEntries(t *testing.T) {
	s := of(t, 1, 3)
	for n := range 17 {
		write(t, s, export(stamped(2*n+5, "BIG", strings.Repeat("x", 1<<20))...))
	}
	r, err := s.Record()
	require.NoError(t, err)
	assert.Len(t, s.gaps, 18)
	assert.Len(t, r.Reached.Gaps, 15)
}

// Entries in a record are not examined again.
func TestRecordOfWhatCameInAnotherOrder(t *testing.T) {
	s := of(t, 1, 5)
	write(t, s, ofSequence("u", 3))
	require.NoError(t, s.Fill(func(w io.Writer) error { write(t, w, ofSequence("u", 4)); return nil }))
	cut := strings.Replace(export(stamped(6, "MESSAGE", "m6")...), c(6), c(6)+";x=1", 1)
	write(t, s, strings.TrimSuffix(cut, "\n"), sized("HUGE", maxEntry), "\n")
	assert.Equal(t, "m1 u-4 m5 u-3 m6", all(t, s))
	again := restored(t, s)
	assert.Equal(t, "m1 u-4 m5 u-3 m6", all(t, again))
	assert.Equal(t, s.Losses(0), again.Losses(0))
	assert.Equal(t, s.Len()+1, again.Len(), "it counts what Fill has added")
}

// A record of an older version has only the places of the entries after the gaps.
func TestOlderRecord(t *testing.T) {
	r, err := of(t, 1, 3, 5).Record()
	require.NoError(t, err)
	data, err := json.Marshal(map[string]any{
		"entries": r.Entries, "gone": 7, "rest": []byte("__CURSOR"), "gaps": []Place{{"1", 5}},
		"losses": []RecordedLoss{{8, "an entry before m3 did not arrive"}},
	})
	require.NoError(t, err)
	var old Record
	require.NoError(t, json.Unmarshal(data, &old))
	s, err := Restore(old)
	require.NoError(t, err)
	write(t, s, strings.TrimPrefix(export(stamped(6, "MESSAGE", "m6")...), "__CURSOR"))
	assert.Equal(t, []string{"an entry before m3 did not arrive", "an entry before 03:04:05.000 : m5 did not arrive"}, s.Losses(7+1))
	fillWith(t, s, 2, 4)
	assert.Equal(t, "m1 m3 m4 m5 m6", all(t, s))
}

// A record that contradicts itself is refused.
func TestRecordOfNoBoot(t *testing.T) {
	for _, reached := range []Reached{
		{},
		{Boots: []RecordedBoot{{Counters: map[string]int{"1": 0}}}},
		{Boots: []RecordedBoot{{}}, Gaps: []RecordedGap{{Boot: 1}}},
	} {
		r, err := of(t, 1).Record()
		require.NoError(t, err)
		r.Reached = &reached
		_, err = Restore(r)
		assert.ErrorContains(t, err, "restore journal: no ", "%+v", reached)
	}
}

// A record has what is known about the damage to the entry that has not ended.
func TestRecordOfDamage(t *testing.T) {
	s := of(t, 1)
	write(t, s, half(2)+"MESS")
	r, err := s.Record()
	require.NoError(t, err)
	restored, err := Restore(r)
	require.NoError(t, err)
	for _, s := range []*Store{s, restored.Clone(), restored} {
		write(t, s, "AGE=m2\n\n")
		put(t, s, 3)
		assert.Equal(t, "m1 m3", all(t, s))
		assert.Equal(t, []string{"an entry was dropped: a field has no name"}, s.Losses(0))
	}
}
