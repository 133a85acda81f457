package journal

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEntriesAreTheLastAfterACursor(t *testing.T) {
	s := of(t, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	for name, test := range map[string]struct {
		query Query
		want  string
	}{
		"all":            {Query{}, "m1 m2 m3 m4 m5 m6 m7 m8 m9 m10 m11 m12"},
		"last":           {Query{Last: 2}, "m11 m12"},
		"after":          {Query{After: c(9)}, "m10 m11 m12"},
		"last after":     {Query{After: c(2), Last: 3}, "m10 m11 m12"},
		"fewer after":    {Query{After: c(10), Last: 3}, "m11 m12"},
		"none after":     {Query{After: c(12), Last: 3}, ""},
		"after no entry": {Query{After: c(0), Last: 1}, "m12"},
		"another":        {Query{After: "s=9;i=5;b=a", Last: 1}, "m12"},
		"contains":       {Query{Contains: "1", After: c(1)}, "m10 m11 m12"},
		"matching last":  {Query{Match: []string{"MESSAGE=m3", "MESSAGE=m4"}, Last: 1}, "m4"},
	} {
		entries, err := s.Select(test.query, nil)
		require.NoError(t, err, name)
		assert.Equal(t, test.want, messages(entries), "%s: entries after the cursor %q", name, test.query.After)
	}
}

// The entries after a cursor are those that follow it in the journal, of whatever sequence.
func TestAfterACursorOfAnotherSequence(t *testing.T) {
	s := NewStore()
	for i, cursor := range []string{"s=a;i=1;b=b", "s=u;i=2;b=b", "s=a;i=3;b=b", "s=a;i=4;b=b", "s=u;i=6;b=b", "s=a;i=7;b=b"} {
		_, err := s.Write([]byte(export("__CURSOR", cursor, "__REALTIME_TIMESTAMP", "1", "__MONOTONIC_TIMESTAMP", "1", "_BOOT_ID", "b", "MESSAGE", fmt.Sprintf("m%d", i))))
		require.NoError(t, err)
	}
	for cursor, want := range map[string]string{
		"s=u;i=2;b=b": "m2 m3 m4 m5",
		"s=u;i=6;b=b": "m5",
		"s=a;i=4;b=b": "m4 m5",
		"s=a;i=7;b=b": "",
		"s=u;i=5;b=b": "m2 m3 m4 m5", // one that did not arrive
		"s=u;i=1;b=b": "m0 m1 m2 m3 m4 m5",
		"s=a;i=6;b=b": "m4 m5",
	} {
		entries, err := s.Select(Query{After: cursor}, nil)
		require.NoError(t, err)
		assert.Equal(t, want, messages(entries), cursor)
	}
	e, err := s.Wait(t.Context(), Query{After: "s=u;i=2;b=b"}, nil, func(Entry) bool { return true })
	require.NoError(t, err)
	assert.Equal(t, "m2", e.Message)
}

func TestEntriesOfABoot(t *testing.T) {
	s := of(t, 1, 2)
	_, err := s.Write([]byte(export("__CURSOR", "s=1;i=9;b=z", "__REALTIME_TIMESTAMP", "1", "__MONOTONIC_TIMESTAMP", "1", "_BOOT_ID", "z", "MESSAGE", "again")))
	require.NoError(t, err)
	assert.Equal(t, "again", all(t, s))
	assert.Empty(t, s.Losses(0), "what the other boot logged at its end is not known")
	entries, err := s.Select(Query{EarlierBoots: true, After: c(1)}, nil)
	require.NoError(t, err)
	assert.Equal(t, "m2 again", messages(entries))
}

// units has entries by and about units, each with its message.
func units(t *testing.T) *Store {
	t.Helper()
	s := NewStore()
	for i, pairs := range [][]string{
		{"MESSAGE", "own", "_SYSTEMD_UNIT", "a.service", "_UID", "7"},
		{"MESSAGE", "pid1", "_SYSTEMD_UNIT", "init.scope", "UNIT", "a.service", "_UID", "0"},
		{"MESSAGE", "helper", "UNIT", "a.service", "_UID", "7"},
		{"MESSAGE", "daemon", "OBJECT_SYSTEMD_UNIT", "a.service", "_UID", "0"},
		{"MESSAGE", "liar", "OBJECT_SYSTEMD_UNIT", "a.service", "_UID", "7"},
		{"MESSAGE", "core", "COREDUMP_UNIT", "a.service", "_UID", "0"},
		{"MESSAGE", "slice", "_SYSTEMD_SLICE", "a.slice"},
		{"MESSAGE", "twice", "_SYSTEMD_UNIT", "b.service", "PRIORITY", "6", "PRIORITY", "3"},
		{"MESSAGE", "user", "_SYSTEMD_USER_UNIT", "a.service", "_UID", "1000"},
		{"MESSAGE", "manager", "USER_UNIT", "a.service", "_UID", "1000"},
		{"MESSAGE", "other", "_SYSTEMD_USER_UNIT", "a.service", "_UID", "1001"},
		{"MESSAGE", "dump", "COREDUMP_USER_UNIT", "a.service", "_UID", "0"},
	} {
		_, err := s.Write([]byte(export(stamped(i+1, pairs...)...)))
		require.NoError(t, err)
	}
	return s
}

func TestUnitOfAQuery(t *testing.T) {
	s, uid := units(t), uint32(1000)
	for _, test := range []struct {
		query Query
		user  *uint32
		want  string
	}{
		{Query{Unit: "a.service"}, nil, "own pid1 helper daemon core"},
		{Query{By: "a.service"}, nil, "own"},
		{Query{About: "a.service"}, nil, "pid1 helper daemon core"},
		{Query{By: "init.scope", About: "a.service"}, nil, "pid1"},
		{Query{Unit: "a.slice"}, nil, "slice"},
		{Query{Unit: "a.service"}, &uid, "user manager dump"},
		{Query{By: "a.service"}, &uid, "user"},
		{Query{Unit: "b.service", Match: []string{"PRIORITY=6"}}, nil, "twice"},
		{Query{Unit: "b.service", Match: []string{"PRIORITY=3"}}, nil, "twice"},
		{Query{Unit: "b.service", Match: []string{"PRIORITY=4"}}, nil, ""},
		{Query{Unit: "b.service", Match: []string{"PRIORITY=4", "+", "MESSAGE=twice"}}, nil, "twice"},
		{Query{Unit: "a.service", Match: []string{"_UID=0", "MESSAGE=core", "MESSAGE=own"}}, nil, "core"},
	} {
		entries, err := s.Select(test.query, test.user)
		require.NoError(t, err)
		assert.Equal(t, test.want, messages(entries), "%+v", test.query)
	}
}

func TestWaitForAnEntry(t *testing.T) {
	s := of(t, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	for name, test := range map[string]struct {
		query Query
		want  string
	}{
		"first":      {Query{}, "m1"},
		"after":      {Query{After: c(4)}, "m5"},
		"last":       {Query{Last: 2}, "m11"},
		"last after": {Query{After: c(4), Last: 2}, "m11"},
		"match":      {Query{Match: []string{"MESSAGE=m7"}}, "m7"},
	} {
		e, err := s.Wait(t.Context(), test.query, nil, func(Entry) bool { return true })
		require.NoError(t, err, name)
		assert.Equal(t, test.want, e.Message, name)
	}
}

// Of the entries that are there none is accepted, and the wait goes on with those that come.
func TestWaitGoesOn(t *testing.T) {
	for _, q := range []Query{{}, {Last: 2}, {After: c(2)}, {After: c(7)}} {
		s := of(t, 1, 2)
		seen := make(chan bool, 99)
		found := make(chan Entry, 1)
		go func() {
			e, err := s.Wait(t.Context(), q, nil, func(e Entry) bool { seen <- true; return e.Message == "m9" })
			assert.NoError(t, err)
			found <- e
		}()
		if q.After == "" {
			<-seen
		}
		put(t, s, 8, 9)
		assert.Equal(t, "m9", (<-found).Message, "%+v", q)
	}
}

// A wait for one of the last entries leaves out those before them.
func TestWaitForOneOfTheLast(t *testing.T) {
	s := of(t, 1, 2)
	found := make(chan Entry, 1)
	seen := make(chan bool, 9)
	go func() {
		e, err := s.Wait(t.Context(), Query{Last: 1}, nil, func(e Entry) bool { seen <- true; return e.Message != "m2" })
		assert.NoError(t, err)
		found <- e
	}()
	<-seen
	put(t, s, 3)
	assert.Equal(t, "m3", (<-found).Message)
}

func TestWaitThatEnds(t *testing.T) {
	s := of(t, 1)
	s.End(errors.New("the guest is gone"))
	_, err := s.Wait(t.Context(), Query{}, nil, func(Entry) bool { return false })
	assert.EqualError(t, err, "wait for an entry in the journal: the guest is gone; of 1 such entries none matched, the last is: 03:04:05.000 : m1")
	enough := errors.New("the time is up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	_, err = of(t).Wait(ctx, Query{Unit: "a.service"}, nil, func(Entry) bool { return true })
	assert.ErrorIs(t, err, enough)
	assert.EqualError(t, err, "wait for an entry of a.service in the journal: the time is up; there was no such entry")
}

func TestQueryThatMakesNoSense(t *testing.T) {
	for want, q := range map[string]Query{
		`read journal: match "--boot" is not FIELD=value`:   {Match: []string{"--boot"}},
		`read journal: match "/bin/sh" is not FIELD=value`:  {Match: []string{"/bin/sh"}},
		`read journal: no match before a "+"`:               {Match: []string{"A=1", "+", "+", "B=1"}},
		`read journal: no match after the last "+"`:         {Match: []string{"A=1", "+"}},
		`read journal: "x" is not the cursor of an entry`:   {After: "x"},
		`read journal: "s=1" is not the cursor of an entry`: {After: "s=1"},
	} {
		_, err := of(t, 1).Select(q, nil)
		assert.EqualError(t, err, want)
	}
}

func TestQueryInWords(t *testing.T) {
	assert.Equal(t, "an entry", Query{Last: 5}.String())
	assert.Equal(t, `an entry of a.socket with PRIORITY=3 _PID=7 that contains "x"`,
		Query{Unit: "a.socket", Match: []string{"PRIORITY=3", "_PID=7"}, Contains: "x"}.String())
	assert.Equal(t, "an entry by a.socket about b.socket", Query{By: "a.socket", About: "b.socket"}.String())
}

func TestIsInstance(t *testing.T) {
	for unit, want := range map[string]bool{
		"echo@1.service": true, "echo@1-2:3.service": true, "echo@.service": true,
		"echo.service": false, "echo@1.socket": false, "other-echo@1.service": false,
	} {
		assert.Equal(t, want, isInstance("echo@.service", unit), unit)
	}
	assert.False(t, isInstance("echo.service", "echo@1.service"))
}
