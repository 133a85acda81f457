package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

func TestEntriesThatDidNotArrive(t *testing.T) {
	s := of(t, 1, 2)
	at := s.Len()
	put(t, s, 6, 7)
	cursor, ok := s.Gap()
	require.True(t, ok)
	assert.Equal(t, c(2), cursor)
	require.NoError(t, s.Fill(func(w io.Writer) error {
		for _, n := range []int{2, 4, 6, 7} {
			if _, err := io.WriteString(w, export(stamped(n, "MESSAGE", fmt.Sprintf("m%d", n))...)); err != nil {
				return err
			}
		}
		return nil
	}))
	assert.Equal(t, "m1 m2 m4 m6 m7", all(t, s))
	_, ok = s.Gap()
	assert.False(t, ok)
	assert.Equal(t, []string{"2 entries before 03:04:05.000 : m6 did not arrive"}, s.Losses(0))
	assert.Len(t, s.Losses(at), 1)
	assert.Empty(t, s.Losses(at+1))
	_, err := s.Write([]byte(export("__CURSOR", "x") + export(stamped(8)...)))
	require.NoError(t, err)
	require.Len(t, s.Losses(0), 2)
	assert.Contains(t, s.Losses(0)[1], "an entry was dropped: parse journal timestamp")
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

// A user's file may have another sequence, with numbers of the same counter.
func TestTwoSequences(t *testing.T) {
	s := of(t, 1, 2)
	for _, cursor := range []string{"s=u;i=3;b=b", "s=u;i=4;b=b", "s=1;i=5;b=b", "s=v;i=1;b=b", "s=1;i=6;b=b"} {
		_, err := s.Write([]byte(export("__CURSOR", cursor, "__REALTIME_TIMESTAMP", "1", "__MONOTONIC_TIMESTAMP", "1", "_BOOT_ID", "b")))
		require.NoError(t, err)
	}
	assert.Equal(t, 7, s.Len())
	assert.Empty(t, s.Losses(0))
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
	assert.Equal(t, fmt.Sprintf("the oldest %d entries were dropped, because the host keeps 128 MiB", 140-len(entries)), losses[0])
	assert.Equal(t, 140, s.Len())
	r, err := s.Record()
	require.NoError(t, err)
	restored, err := Restore(r)
	require.NoError(t, err)
	assert.Equal(t, 15, restored.Len(), "of 16 MiB")
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

// An entry that is not kept is waited for no longer.
func TestDroppedEntryHasArrived(t *testing.T) {
	for name, field := range map[string]string{
		"a large value":       "HUGE\n" + string(binary.LittleEndian.AppendUint64(nil, maxEntry+1)) + strings.Repeat("x", maxEntry+1) + "\n",
		"many values":         strings.Repeat("MANY="+strings.Repeat("x", 1<<20)+"\n", 20),
		"a time that is none": "__MONOTONIC_TIMESTAMP=x\n",
	} {
		s := of(t, 1)
		_, err := s.Write([]byte("__CURSOR=" + c(2) + "\n" + field + "\n"))
		require.NoError(t, err)
		assert.Len(t, s.Losses(0), 1, name)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		assert.NoError(t, s.WaitTails(ctx, []Place{{"1", 2}}), name)
		cancel()
		put(t, s, 3)
		assert.Len(t, s.Losses(0), 1, name)
		assert.Equal(t, "m1 m3", all(t, s))
	}
}

// Two callers that fill the same gap add its entries once.
func TestFillTwice(t *testing.T) {
	s := of(t, 1, 4)
	assert.NoError(t, s.Fill(func(w io.Writer) error {
		return s.Fill(func(other io.Writer) error {
			for n := 2; n <= 5; n++ {
				text := export(stamped(n, "MESSAGE", fmt.Sprintf("m%d", n))...)
				if _, err := io.WriteString(io.MultiWriter(w, other), text); err != nil {
					return err
				}
			}
			return nil
		})
	}))
	assert.Equal(t, "m1 m2 m3 m4", all(t, s))
	assert.Empty(t, s.Losses(0))
}
