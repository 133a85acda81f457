package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// put adds entries with these numbers and messages m1, m2, ... to a store.
func put(t *testing.T, s *Store, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		_, err := s.Write([]byte(export(stamped(n, "MESSAGE", fmt.Sprintf("m%d", n))...)))
		require.NoError(t, err)
	}
}

func of(t *testing.T, numbers ...int) *Store {
	t.Helper()
	s := NewStore()
	put(t, s, numbers...)
	return s
}

func messages(entries []Entry) string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Message)
	}
	return strings.Join(all, " ")
}

func all(t *testing.T, s *Store) string {
	t.Helper()
	entries, err := s.Select(Query{}, nil)
	require.NoError(t, err)
	return messages(entries)
}

// A stream that begins again may repeat entries, and an incomplete one is left out.
func TestStreamBeginsAgain(t *testing.T) {
	s := of(t, 1, 2)
	_, err := s.Write([]byte("__CURSOR=" + c(3) + "\nMESS"))
	require.NoError(t, err)
	s.Begin()
	put(t, s, 2, 3)
	assert.Equal(t, "m1 m2 m3", all(t, s))
	assert.Equal(t, c(3), s.Last())
	assert.Empty(t, s.Losses(0))
}

// journald says what it did not take. A unit can say so, too, but not as journald.
func TestEntriesThatJournaldDidNotTake(t *testing.T) {
	s := NewStore()
	for i, pairs := range [][]string{
		{"MESSAGE", "Suppressed 7 messages from a.service", "MESSAGE_ID", journalDropped, "_TRANSPORT", "driver"},
		{"MESSAGE", "Missed 3 kernel messages", "MESSAGE_ID", journalMissed, "_TRANSPORT", "driver"},
		{"MESSAGE", "Suppressed 8 messages from b.service", "MESSAGE_ID", journalDropped, "_TRANSPORT", "journal"},
		{"MESSAGE", "Journal started", "_TRANSPORT", "driver"},
	} {
		_, err := s.Write([]byte(export(stamped(i+1, pairs...)...)))
		require.NoError(t, err)
	}
	assert.Equal(t, []string{"journald: Suppressed 7 messages from a.service", "journald: Missed 3 kernel messages"}, s.Losses(0))
}

func TestWaitTails(t *testing.T) {
	s := of(t, 1, 2)
	require.NoError(t, s.WaitTails(t.Context(), []Place{{"1", 2}}))
	done := make(chan error, 1)
	go func() { done <- s.WaitTails(t.Context(), []Place{{"1", 2}, {"1", 4}}) }()
	put(t, s, 3)
	select {
	case err := <-done:
		t.Fatalf("it did not wait for the last entry (%v)", err)
	case <-time.After(10 * time.Millisecond):
	}
	put(t, s, 4)
	require.NoError(t, <-done)

	late := errors.New("the time is up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(late)
	assert.EqualError(t, s.WaitTails(ctx, []Place{{"1", 9}, {"2", 3}}), "the time is up; 5 entries of the journal have not arrived")
	gone := errors.New("the guest is gone")
	s.End(gone)
	assert.ErrorIs(t, s.WaitTails(t.Context(), []Place{{"1", 9}}), gone)
	assert.Equal(t, "m1 m2 m3 m4", all(t, s), "after the end")
}

func TestSince(t *testing.T) {
	s := of(t, 1, 2, 3, 4)
	for _, test := range []struct {
		from, most int
		want       string
		all        bool
	}{{0, 9, "m1 m2 m3 m4", true}, {2, 9, "m3 m4", true}, {2, 1, "m4", false}, {4, 9, "", true}} {
		entries, whole := s.Since(test.from, test.most)
		assert.Equal(t, test.want, messages(entries), "%+v", test)
		assert.Equal(t, test.all, whole, "%+v", test)
	}
}

// An entry that is cut, or not kept, is a loss of its own, and nothing waits for it.
func TestEntryThatIsNotWhole(t *testing.T) {
	for name, test := range map[string]struct{ field, kept, loss string }{
		"a large value":       {sized("HUGE", maxEntry+1), "m1 m2 m3", "an entry of more than 16 MiB was cut: 03:04:05.000 : m2"},
		"a large line":        {"HUGE=" + strings.Repeat("x", maxEntry) + "\n", "m1 m2 m3", "an entry of more than 16 MiB was cut: 03:04:05.000 : m2"},
		"many values":         {strings.Repeat("MANY="+strings.Repeat("x", 1<<20)+"\n", 20), "m1 m2 m3", "an entry of more than 16 MiB was cut: 03:04:05.000 : m2"},
		"no field":            {"", "m1 m3", "an entry was dropped: not all of its fields arrived"},
		"a time that is none": {"__MONOTONIC_TIMESTAMP=x\n", "m1 m3", "an entry was dropped: parse journal's monotonic timestamp"},
	} {
		s := of(t, 1)
		text := strings.TrimSuffix(export(stamped(2, "MESSAGE", "m2")...), "\n") + test.field + "\n"
		if test.field == "" {
			text = strings.Replace(export(stamped(2)...), c(2), c(2)+";x=1", 1)
		}
		_, err := s.Write([]byte(text))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		assert.NoError(t, s.WaitTails(ctx, []Place{{"1", 2}}), name)
		cancel()
		put(t, s, 3)
		require.Len(t, s.Losses(0), 1, name)
		assert.Contains(t, s.Losses(0)[0], test.loss, name)
		assert.Len(t, s.Losses(1), 1, name)
		assert.Equal(t, test.kept, all(t, s))
	}
}

// A burst of 60,000 entries, of the size that a service's have, is kept, in order.
func TestBurst(t *testing.T) {
	const entries = 60_000
	var stream strings.Builder
	for n := 1; n <= entries; n++ {
		stream.WriteString(export(stamped(n, "MESSAGE", fmt.Sprintf("m%d", n), "FIELDS", strings.Repeat("x", 700))...))
	}
	s := NewStore()
	for text := stream.String(); text != ""; {
		part := text[:min(len(text), 32<<10)]
		_, err := s.Write([]byte(part))
		require.NoError(t, err)
		text = text[len(part):]
	}
	all, err := s.Select(Query{}, nil)
	require.NoError(t, err)
	require.Len(t, all, entries)
	for i, e := range all {
		require.Equal(t, fmt.Sprintf("m%d", i+1), e.Message)
	}
	assert.Empty(t, s.Losses(0))
	last, err := s.Select(Query{After: c(entries - 1)}, nil)
	require.NoError(t, err)
	assert.Len(t, last, 1)
}
