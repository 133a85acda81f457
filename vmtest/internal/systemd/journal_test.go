package systemd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeJournal answers journalctl as it does for a journal of entries with the messages
// m1, m2, .... The cursor of m1 is c(1). It ignores matches, as if all met them.
type fakeJournal struct {
	entries int
	calls   []string
	before  string // fields for each entry, as JSON
}

func (f *fakeJournal) run(_ context.Context, args []string, w io.Writer) error {
	f.calls = append(f.calls, strings.Join(args, " "))
	if slices.Contains(args, "--sync") {
		return nil
	}
	first, last := 1, f.entries
	for _, arg := range args {
		if cursor, ok := strings.CutPrefix(arg, "--cursor="); ok {
			fmt.Sscanf(cursor, "s=1;i=%x", &first)
		}
	}
	for _, arg := range args {
		lines := 0
		if n, _ := fmt.Sscanf(arg, "--lines=%d", &lines); n == 0 {
			continue
		}
		if slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--cursor=") }) {
			last = min(last, first+lines-1) // what journalctl does
		} else {
			first = max(first, last-lines+1)
		}
	}
	order := make([]int, 0, f.entries)
	for i := first; i <= last; i++ {
		order = append(order, i)
	}
	if slices.Contains(args, "--reverse") {
		slices.Reverse(order)
	}
	for _, i := range order {
		_, err := fmt.Fprintf(w, `{"__CURSOR":%q,"__REALTIME_TIMESTAMP":"1","__MONOTONIC_TIMESTAMP":"%d","_BOOT_ID":"b","MESSAGE":"m%d"%s}`+"\n", c(i), i, i, f.before)
		if err != nil {
			return err
		}
	}
	return nil
}

func c(i int) string { return fmt.Sprintf("s=1;i=%x;b=b", i) }

func messages(entries []Entry) string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Message)
	}
	return strings.Join(all, " ")
}

func TestEntriesAreTheLastAfterACursor(t *testing.T) {
	for name, test := range map[string]struct {
		query Query
		want  string
	}{
		"all":                  {Query{}, "m1 m2 m3 m4 m5 m6 m7 m8 m9 m10 m11 m12"},
		"last":                 {Query{Last: 2}, "m11 m12"},
		"after":                {Query{After: c(9)}, "m10 m11 m12"},
		"last after":           {Query{After: c(2), Last: 3}, "m10 m11 m12"},
		"fewer after":          {Query{After: c(10), Last: 3}, "m11 m12"},
		"none after":           {Query{After: c(12), Last: 3}, ""},
		"last of a unit":       {Query{Unit: "a.service", Last: 2}, "m11 m12"},
		"last after of a unit": {Query{Unit: "a.service", After: c(3), Last: 1}, "m12"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeJournal{entries: 12}
			entries, err := Journal{Run: f.run}.Entries(t.Context(), test.query)
			require.NoError(t, err)
			assert.Equal(t, test.want, messages(entries))
			assert.Equal(t, "journalctl --sync", f.calls[0])
		})
	}
}

// The cursor's entry may not be selected. journalctl then begins with the first selected
// entry after it, which is not to be dropped.
func TestFirstEntryAfterACursorStays(t *testing.T) {
	f := &fakeJournal{entries: 3}
	entries, err := Journal{Run: f.run}.Entries(t.Context(), Query{After: "s=1;i=0;b=b", Unit: "a.service"})
	require.NoError(t, err)
	assert.Equal(t, "m1 m2 m3", messages(entries))
	assert.NotContains(t, f.calls[1], "after-cursor")
}

func TestUnitAndMatchAreBothMet(t *testing.T) {
	f := &fakeJournal{entries: 3, before: `,"PRIORITY":["6","3"],"_UID":"1"`}
	for want, match := range map[string][]string{
		"m1 m2 m3": {"PRIORITY=3"},
		"":         {"PRIORITY=4"},
		"m3":       {"PRIORITY=4", "+", "MESSAGE=m3", "_UID=1"},
		"m2 m3":    {"MESSAGE=m2", "MESSAGE=m3", "PRIORITY=6"},
	} {
		entries, err := Journal{Run: f.run}.Entries(t.Context(), Query{Unit: "a.service", Match: match})
		require.NoError(t, err)
		assert.Equal(t, want, messages(entries), "%v", match)
	}
	entries, err := Journal{Run: f.run}.Entries(t.Context(), Query{Unit: "a.service", Match: []string{"MESSAGE=m1"}, Last: 1})
	require.NoError(t, err)
	assert.Equal(t, "m1", messages(entries), "the last that meets both")
}

func TestUnitOfAUser(t *testing.T) {
	f := &fakeJournal{entries: 1}
	uid := uint32(1000)
	_, err := Journal{Run: f.run, User: &uid}.Entries(t.Context(), Query{Unit: "a.slice"})
	require.NoError(t, err)
	assert.Contains(t, f.calls[1], " _SYSTEMD_USER_UNIT=a.slice _UID=1000 + USER_UNIT=a.slice _UID=1000 + ")
	assert.True(t, strings.HasSuffix(f.calls[1], " + _SYSTEMD_USER_SLICE=a.slice _UID=1000"), f.calls[1])
}

func TestWaitForAnEntry(t *testing.T) {
	for name, test := range map[string]struct {
		query Query
		want  string
	}{
		"first":        {Query{}, "m1"},
		"after":        {Query{After: c(4)}, "m5"},
		"last":         {Query{Last: 2}, "m11"},
		"last after":   {Query{After: c(4), Last: 2}, "m11"},
		"unit + match": {Query{Unit: "a.service", Match: []string{"MESSAGE=m7"}}, "m7"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeJournal{entries: 12}
			e, err := Journal{Run: f.run}.Wait(t.Context(), test.query, func(Entry) bool { return true })
			require.NoError(t, err)
			assert.Equal(t, test.want, e.Message)
		})
	}
}

// Of the last entries none is accepted, and the wait goes on with those that come.
func TestWaitGoesOnAfterTheLast(t *testing.T) {
	f := &fakeJournal{entries: 12}
	run := func(ctx context.Context, args []string, w io.Writer) error {
		if slices.Contains(args, "--follow") {
			f.entries++
		}
		return f.run(ctx, args, w)
	}
	e, err := Journal{Run: run}.Wait(t.Context(), Query{After: c(4), Last: 2}, func(e Entry) bool { return e.Message == "m13" })
	require.NoError(t, err)
	assert.Equal(t, "m13", e.Message)
	assert.Contains(t, f.calls[2], "--cursor="+c(12))
}

func TestWaitThatEnds(t *testing.T) {
	f := &fakeJournal{entries: 1}
	_, err := Journal{Run: f.run}.Wait(t.Context(), Query{Unit: "a.service"}, func(Entry) bool { return false })
	assert.EqualError(t, err, "wait for an entry of a.service in the journal: journalctl --follow ended by itself; of 1 such entries none matched, the last is: 00:00:00.000 : m1")

	enough := errors.New("the time is up")
	ctx, cancel := context.WithCancelCause(t.Context())
	run := func(ctx context.Context, args []string, w io.Writer) error {
		cancel(enough)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	_, err = Journal{Run: run}.Wait(ctx, Query{}, func(Entry) bool { return false })
	assert.ErrorIs(t, err, enough)
}

func TestQueryThatMakesNoSense(t *testing.T) {
	for want, q := range map[string]Query{
		`read journal: unit name "demo" has no type such as .service (systemd.unit(5))`: {Unit: "demo"},
		`read journal: unit name "demo*.service" is a pattern`:                          {Unit: "demo*.service"},
		`read journal: match "--boot" is not FIELD=value`:                               {Match: []string{"--boot"}},
		`read journal: match "/bin/sh" is not FIELD=value`:                              {Match: []string{"/bin/sh"}},
		`read journal: no match before a "+"`:                                           {Match: []string{"A=1", "+", "+", "B=1"}},
		`read journal: no match after the last "+"`:                                     {Match: []string{"A=1", "+"}},
	} {
		f := &fakeJournal{}
		_, err := Journal{Run: f.run}.Entries(t.Context(), q)
		assert.EqualError(t, err, want)
		assert.Empty(t, f.calls)
	}
}

func TestSinceAMoment(t *testing.T) {
	f := &fakeJournal{entries: 12}
	j := Journal{Run: f.run}
	for name, test := range map[string]struct {
		begin Moment
		most  int
		want  string
		all   bool
	}{
		"the moment":   {Moment{Boot: "b", Monotonic: 9000}, 100, "m10 m11 m12", true},
		"at most":      {Moment{Boot: "b", Monotonic: 9000}, 2, "m11 m12", false},
		"another boot": {Moment{Boot: "a", Monotonic: 9000}, 100, "m1 m2 m3 m4 m5 m6 m7 m8 m9 m10 m11 m12", true},
		"no moment":    {Moment{}, 100, "m1 m2 m3 m4 m5 m6 m7 m8 m9 m10 m11 m12", true},
	} {
		entries, all, err := j.Since(t.Context(), test.begin, test.most)
		require.NoError(t, err, name)
		assert.Equal(t, test.want, messages(entries), name)
		assert.Equal(t, test.all, all, name)
	}
	f.before = `,"SYSLOG_IDENTIFIER":"systemd-journald","MESSAGE":"Received client request to sync journal."`
	entries, _, err := j.Since(t.Context(), Moment{}, 100)
	require.NoError(t, err)
	assert.Empty(t, entries, "what this package itself makes journald log")
	end, err := j.End(t.Context())
	require.NoError(t, err)
	assert.Equal(t, Moment{Boot: "b", Monotonic: 12000}, end)
}

func TestIsAfter(t *testing.T) {
	const at = "s=aa;i=10;b=x;m=1"
	assert.False(t, isAfter(at, at))
	assert.False(t, isAfter("s=aa;i=f;b=x;m=9", at))
	assert.True(t, isAfter("s=aa;i=11;b=x;m=1", at))
	assert.True(t, isAfter("s=bb;i=1;b=y", at), "another sequence")
	assert.False(t, isAfter("opaque", "opaque"))
	assert.True(t, isAfter("opaque", at))
}

func TestQueryInWords(t *testing.T) {
	assert.Equal(t, "an entry", Query{Last: 5}.wanted())
	assert.Equal(t, "an entry of a.socket with PRIORITY=3 _PID=7", Query{Unit: "a.socket", Match: []string{"PRIORITY=3", "_PID=7"}}.wanted())
}
