package journal

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStoreIsBounded(t *testing.T) {
	s := NewStore()
	big := strings.Repeat("x", 1<<20)
	for n := 1; n <= 140; n++ {
		_, err := s.Write([]byte(export(stamped(n, "MESSAGE", fmt.Sprintf("m%d", n), "BIG", big)...)))
		require.NoError(t, err)
	}
	entries, err := s.Select(Query{}, nil)
	require.NoError(t, err)
	assert.Less(t, len(entries), 129)
	assert.Equal(t, "m140", entries[len(entries)-1].Message)
	losses := s.Losses(0)
	require.Len(t, losses, 1)
	assert.Equal(t, fmt.Sprintf("the oldest %d entries were dropped, because the host keeps 128 MiB, and a snapshot 16", 140-len(entries)), losses[0])
	assert.Equal(t, 140, s.Len())
	assert.Equal(t, losses, s.LossesAfter(c(1)), "the entries after it are gone")
	assert.Empty(t, s.LossesAfter(entries[0].Cursor))
	r, err := s.Record()
	require.NoError(t, err)
	restored, err := Restore(r)
	require.NoError(t, err)
	assert.Equal(t, 140, restored.Len())
	entries, all := restored.Since(0, 1000)
	assert.True(t, all)
	assert.Len(t, entries, 15, "of 16 MiB")
}

func TestRecord(t *testing.T) {
	s := of(t, 1, 2)
	half := export(stamped(3, "MESSAGE", "m3")...)
	_, err := s.Write([]byte(half[:40]))
	require.NoError(t, err)
	r, err := s.Record()
	require.NoError(t, err)
	restored, err := Restore(r)
	require.NoError(t, err)
	a, b := restored.Clone(), restored.Clone()
	_, err = a.Write([]byte(half[40:]))
	require.NoError(t, err)
	assert.Equal(t, "m1 m2 m3", all(t, a))
	assert.Equal(t, "m1 m2", all(t, b), "a clone has its own")
	none, err := Restore(Record{})
	require.NoError(t, err)
	assert.Zero(t, none.Len())
	_, err = Restore(Record{Entries: []byte("rubbish")})
	assert.ErrorContains(t, err, "restore journal: ")
}

// A record has what is known about the entries that are missing, and no more.
func TestRecordOfLosses(t *testing.T) {
	s := of(t, 1, 3)
	fillWith(t, s)
	put(t, s, 4, 7)
	filled := of(t, 1, 3)
	fillWith(t, filled, 2)
	for name, test := range map[string]struct {
		of      *Store
		lost    int // of all
		entries int
		gap     bool
	}{"a loss and a gap": {s, 2, 4, true}, "a gap that was filled": {filled, 0, 3, false}} {
		r, err := test.of.Record()
		require.NoError(t, err)
		restored, err := Restore(r)
		require.NoError(t, err)
		for form, s := range map[string]*Store{"restored": restored, "a clone": restored.Clone(), "a clone of the store": test.of.Clone()} {
			assert.Equal(t, test.of.Losses(0), s.Losses(0), "%s, %s", name, form)
			assert.Len(t, s.Losses(0), test.lost, "%s, %s", name, form)
			assert.Empty(t, s.Losses(s.Len()), "%s, %s", name, form)
			_, gap := s.Gap()
			assert.Equal(t, test.gap, gap, "%s, %s", name, form)
		}
		assert.Equal(t, test.entries, restored.Len(), name)
	}
}

// A stream that goes on in the middle of a field that is left out goes on well.
func TestRecordInAField(t *testing.T) {
	for name, field := range map[string]string{"a value": sized("HUGE", maxEntry), "a line": "HUGE=" + strings.Repeat("x", maxEntry) + "\n"} {
		text := strings.TrimSuffix(export(stamped(2, "MESSAGE", "m2")...), "\n") + field + "\n"
		s := of(t, 1)
		_, err := s.Write([]byte(text[:len(text)-9]))
		require.NoError(t, err)
		r, err := s.Record()
		require.NoError(t, err)
		restored, err := Restore(r)
		require.NoError(t, err)
		for _, s := range []*Store{s, restored.Clone(), restored} {
			_, err = s.Write([]byte(text[len(text)-9:]))
			require.NoError(t, err, name)
			assert.Equal(t, "m1 m2", all(t, s), name)
			require.Len(t, s.Losses(0), 1, name)
		}
	}
}
