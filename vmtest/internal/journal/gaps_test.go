package journal

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
	_, err := s.Write([]byte(export("__CURSOR", "x") + export(stamped(8, "MESSAGE", "m8")...)))
	require.NoError(t, err)
	require.Len(t, s.Losses(0), 2)
	assert.Contains(t, s.Losses(0)[1], "an entry was dropped: parse journal timestamp")
}

// Entries that are missing before one that is dropped are not forgotten with it.
func TestGapBeforeADroppedEntry(t *testing.T) {
	torn := strings.Replace(export(stamped(5)...), c(5), c(5)+";x=1", 1)
	for name, dropped := range map[string]string{
		"not all of its fields": torn,
		"no time":               export("__CURSOR", c(5), "__REALTIME_TIMESTAMP", "x"),
	} {
		s := of(t, 1, 2)
		_, err := s.Write([]byte(dropped))
		require.NoError(t, err)
		put(t, s, 8)
		fillWith(t, s, 3, 7)
		assert.Equal(t, "m1 m2 m3 m7 m8", all(t, s), name)
		losses := s.Losses(0)
		require.Len(t, losses, 3, name)
		assert.Contains(t, losses[0], "an entry was dropped: ", name)
		assert.Equal(t, []string{
			"an entry before an entry that was dropped did not arrive",
			"an entry before 03:04:05.000 : m8 did not arrive",
		}, losses[1:], name)
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

// A user's file may have another sequence, with numbers of the same counter.
func TestTwoSequences(t *testing.T) {
	s := of(t, 1, 2)
	for _, cursor := range []string{"s=u;i=3;b=b", "s=u;i=4;b=b", "s=1;i=5;b=b", "s=v;i=1;b=b", "s=1;i=6;b=b"} {
		_, err := s.Write([]byte(export("__CURSOR", cursor, "__REALTIME_TIMESTAMP", "1", "__MONOTONIC_TIMESTAMP", "1", "_BOOT_ID", "b", "MESSAGE", "")))
		require.NoError(t, err)
	}
	assert.Equal(t, 7, s.Len())
	assert.Empty(t, s.Losses(0))
}

// A journald that was killed may begin to count again, in another sequence.
func TestGapOfAnotherCounter(t *testing.T) {
	s := of(t, 1, 2, 3, 4, 5, 6)
	for _, cursor := range []string{"s=2;i=1;b=b", "s=2;i=2;b=b", "s=2;i=5;b=b"} {
		_, err := s.Write([]byte(export("__CURSOR", cursor, "__REALTIME_TIMESTAMP", "1", "__MONOTONIC_TIMESTAMP", "1", "_BOOT_ID", "b", "MESSAGE", cursor)))
		require.NoError(t, err)
	}
	fillWith(t, s)
	assert.Equal(t, 9, s.Len())
	assert.Equal(t, []string{"2 entries before 00:00:00.000 : s=2;i=5;b=b did not arrive"}, s.Losses(0))
}

// fillWith fills the gaps with the entries of these numbers.
func fillWith(t *testing.T, s *Store, numbers ...int) {
	t.Helper()
	require.NoError(t, s.Fill(func(w io.Writer) error {
		for _, n := range numbers {
			if _, err := io.WriteString(w, export(stamped(n, "MESSAGE", fmt.Sprintf("m%d", n))...)); err != nil {
				return err
			}
		}
		return nil
	}))
}

// A wait in progress gets what is filled in, wherever that stands, and sees each entry once.
func TestWaitSeesWhatIsFilled(t *testing.T) {
	for _, q := range []Query{{}, {After: c(1)}, {After: c(2)}, {After: c(3)}, {Last: 1}} {
		s := of(t, 1, 2)
		var saw []string
		looked, found := make(chan string, 99), make(chan Entry, 1)
		go func() {
			e, err := s.Wait(t.Context(), q, nil, func(e Entry) bool {
				saw = append(saw, e.Message)
				looked <- e.Message
				return e.Message == "m5"
			})
			assert.NoError(t, err)
			found <- e
		}()
		if q.After == "" || q.After == c(1) {
			<-looked
		}
		put(t, s, 7, 8)
		for <-looked != "m8" {
		}
		fillWith(t, s, 2, 3, 4, 5, 7, 8)
		assert.Equal(t, "m5", (<-found).Message, "%+v", q)
		seen := make(map[string]bool)
		for _, m := range saw {
			assert.False(t, seen[m], "%+v: %s comes twice in %v", q, m, saw)
			seen[m] = true
		}
		assert.Equal(t, q.After != c(3), seen["m3"], "%+v", q)
	}
}

// Points in the journal stay what they are when entries before them are filled in.
func TestPointsStay(t *testing.T) {
	s := of(t, 1, 4, 5)
	at := s.Len()
	put(t, s, 6)
	fillWith(t, s, 2, 3)
	entries, _ := s.Since(at, 9)
	assert.Equal(t, "m6", messages(entries))
	assert.Equal(t, at+1, s.Len())
	assert.Equal(t, "m1 m2 m3 m4 m5 m6", all(t, s))
}

// Entries of two sequences may arrive in another order than that of their numbers. They are no
// loss, and are not added again.
func TestGapThatFillsByItself(t *testing.T) {
	s := of(t, 1)
	user := export("__CURSOR", "s=u;i=2;b=b", "__REALTIME_TIMESTAMP", "1", "__MONOTONIC_TIMESTAMP", "1", "_BOOT_ID", "b", "MESSAGE", "user")
	put(t, s, 3)
	assert.Len(t, s.Losses(0), 1)
	_, err := s.Write([]byte(user))
	require.NoError(t, err)
	assert.Empty(t, s.Losses(0))
	require.NoError(t, s.Fill(func(w io.Writer) error { _, err := io.WriteString(w, user); return err }))
	assert.Equal(t, "m1 m3 user", all(t, s))
	assert.Empty(t, s.Losses(0))
}

// The journal of another boot, which was in memory, is numbered from 1 on.
func TestGapAfterAReboot(t *testing.T) {
	s := of(t, 1000)
	for _, n := range []string{"1", "2", "5"} {
		_, err := s.Write([]byte(export("__CURSOR", "s=2;i="+n+";b=z", "__REALTIME_TIMESTAMP", "1", "__MONOTONIC_TIMESTAMP", "1", "_BOOT_ID", "z", "MESSAGE", n)))
		require.NoError(t, err)
	}
	assert.Equal(t, []string{"2 entries before 00:00:00.000 : 5 did not arrive"}, s.Losses(0))
}

// More losses than are kept are a loss anywhere.
func TestManyLosses(t *testing.T) {
	s := NewStore()
	for n := 1; n <= 2*maxLosses; n++ {
		put(t, s, n)
		s.lose("x")
	}
	assert.Len(t, s.Losses(0), maxLosses)
	assert.Equal(t, []string{"more was lost than is listed"}, s.Losses(2*maxLosses))
}
