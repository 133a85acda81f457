package guest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// fakeKmsg returns one of its elements at each read: a record, or an error.
type fakeKmsg []any

func (f *fakeKmsg) read(p []byte) (int, error) {
	if len(*f) == 0 {
		return 0, unix.EAGAIN
	}
	next := (*f)[0]
	*f = (*f)[1:]
	if err, ok := next.(error); ok {
		return 0, err
	}
	return copy(p, next.(string)), nil
}

func TestParseKmsg(t *testing.T) {
	const killed = "Out of memory: Killed process 123 (tail) total-vm:1kB"
	for name, test := range map[string]struct {
		record   string
		want     KernelRecord
		facility uint64
	}{
		"plain":               {"3,17,5000001,-;" + killed + "\n", KernelRecord{17, 5000001 * time.Microsecond, 3, killed}, 0},
		"with a dictionary":   {"6,1,2,-;sd 0:0:0:0: ok\n SUBSYSTEM=scsi\n DEVICE=+scsi:0\n", KernelRecord{1, 2 * time.Microsecond, 6, "sd 0:0:0:0: ok"}, 0},
		"with a caller":       {"4,1,2,-,caller=T1;x\n", KernelRecord{1, 2 * time.Microsecond, 4, "x"}, 0},
		"without flags":       {"4,1,2;x", KernelRecord{1, 2 * time.Microsecond, 4, "x"}, 0},
		"of a daemon":         {"30,2,3,-;systemd[1]: hello\n", KernelRecord{2, 3 * time.Microsecond, 6, "systemd[1]: hello"}, 3},
		"of a user's program": {"11,2,3,-;" + killed + "\n", KernelRecord{2, 3 * time.Microsecond, 3, killed}, 1},
		"large facility":      {"8191,2,3,-;x\n", KernelRecord{2, 3 * time.Microsecond, 7, "x"}, 1023},
		"semicolon in text":   {"6,1,2,-;a;b\n", KernelRecord{1, 2 * time.Microsecond, 6, "a;b"}, 0},
		"empty text":          {"6,1,2,-;\n", KernelRecord{1, 2 * time.Microsecond, 6, ""}, 0},
		"late":                {"6,1,9223372036854775807,-;x\n", KernelRecord{1, micros(maxMicros), 6, "x"}, 0},
	} {
		got, facility, ok := parseKmsg(test.record)
		assert.True(t, ok, name)
		assert.Equal(t, test.want, got, name)
		assert.Equal(t, test.facility, facility, name)
	}
	for _, bad := range []string{"", ";", "x", "1,2;x", "a,1,2,-;x", "-1,1,2,-;x", "1,18446744073709551615,2,-;x", "1,2,,-;x", "1,2,3,-"} {
		_, _, ok := parseKmsg(bad)
		assert.False(t, ok, bad)
	}
}

func TestKernelLogHasOnlyTheKernelsRecords(t *testing.T) {
	kmsg := fakeKmsg{
		"6,5,100,-;booted\n",
		"11,6,200,-;Out of memory: Killed process 1 (fake)\n",
		"rubbish",
		error(unix.EPIPE),
		"3,9,300,-;Out of memory: Killed process 2 (real)\n",
		error(unix.EINVAL),
		error(unix.EINTR),
		"4,11,400,-;x Out of memory: Killed process 3 (quoted)\n",
		"30,12,500,-;systemd[1]: hello\n",
	}
	for name, test := range map[string]struct {
		query KernelLogQuery
		seqs  []uint64
	}{
		"all":           {KernelLogQuery{}, []uint64{5, 9, 11}},
		"by number":     {KernelLogQuery{Seq: 9}, []uint64{9, 11}},
		"by time":       {KernelLogQuery{Monotonic: 301 * time.Microsecond}, []uint64{11}},
		"by prefix":     {KernelLogQuery{Prefixes: []string{"nothing", "Out of memory: "}}, []uint64{9}},
		"later numbers": {KernelLogQuery{Seq: 13}, nil},
		"no numbers":    {KernelLogQuery{Seq: math.MaxUint64}, nil},
	} {
		feed := fakeKmsg(append([]any{}, kmsg...))
		got, more, err := test.query.collect(feed.read)
		require.NoError(t, err, name)
		assert.False(t, more, name)
		var seqs []uint64
		for _, r := range got.Records {
			seqs = append(seqs, r.Seq)
		}
		assert.Equal(t, test.seqs, seqs, "%s: numbers of the kernel's own records", name)
		assert.EqualValues(t, 5, got.Oldest, name)
		assert.EqualValues(t, 13, got.Next, name)
	}
}

func TestKernelLogEnds(t *testing.T) {
	broken := fakeKmsg{error(unix.EIO)}
	_, _, err := KernelLogQuery{}.collect(broken.read)
	assert.ErrorIs(t, err, unix.EIO)

	var reads uint64
	busy := func(p []byte) (int, error) {
		reads++
		return copy(p, fmt.Sprintf("11,%d,1,-;a program logs faster than it is read\n", reads)), nil
	}
	got, more, err := KernelLogQuery{}.collect(busy)
	require.NoError(t, err)
	assert.False(t, more)
	assert.Empty(t, got.Records)
	assert.EqualValues(t, kmsgReads, reads)

	got, _, err = KernelLogQuery{Seq: 7}.collect(new(fakeKmsg).read)
	require.NoError(t, err)
	assert.EqualValues(t, 7, got.Next, "an empty log changes nothing")
}

// controllerFunc answers control requests in this process.
type controllerFunc func(name string, payload []byte) ([]byte, error)

func (f controllerFunc) Control(_ context.Context, name string, payload []byte) ([]byte, error) {
	return f(name, payload)
}

func TestQueryKernelLogInParts(t *testing.T) {
	text := strings.Repeat("x", 900)
	var all fakeKmsg
	for seq := range 1000 {
		all = append(all, fmt.Sprintf("6,%d,%d,-;%s\n", seq, seq, text))
	}
	requests := 0
	agent := controllerFunc(func(name string, payload []byte) ([]byte, error) {
		assert.Equal(t, KernelLogRequest, name)
		requests++
		q, err := parseKernelLogQuery(payload)
		require.NoError(t, err)
		assert.Equal(t, []string{"x", ""}, q.Prefixes)
		feed := fakeKmsg(append([]any{}, all...))
		l, more, err := q.collect(feed.read)
		require.NoError(t, err)
		reply := l.marshal(more)
		assert.LessOrEqual(t, len(reply), 240<<10)
		return reply, nil
	})
	got, err := QueryKernelLog(t.Context(), agent, KernelLogQuery{Seq: 100, Prefixes: []string{"x", ""}})
	require.NoError(t, err)
	require.Len(t, got.Records, 900)
	for i, r := range got.Records {
		assert.Equal(t, KernelRecord{uint64(100 + i), time.Duration(100+i) * time.Microsecond, 6, text}, r)
	}
	assert.EqualValues(t, 0, got.Oldest)
	assert.EqualValues(t, 1000, got.Next)
	assert.Equal(t, 4, requests)
}

func TestQueryKernelLogFailures(t *testing.T) {
	refused := errors.New("no such request")
	for name, test := range map[string]struct {
		reply []byte
		err   error
		text  string
	}{
		"refused":     {nil, refused, "read kernel log: no such request"},
		"rubbish":     {[]byte("rubbish"), nil, "read kernel log: parse reply"},
		"no progress": {KernelLog{Next: 3}.marshal(true), nil, "reply ends at record 3, query began at 3"},
	} {
		agent := controllerFunc(func(string, []byte) ([]byte, error) { return test.reply, test.err })
		_, err := QueryKernelLog(t.Context(), agent, KernelLogQuery{Seq: 3})
		assert.ErrorContains(t, err, test.text, name)
	}
}

// TestKernelLogWithoutEnd has an agent that always has more.
func TestKernelLogWithoutEnd(t *testing.T) {
	text := strings.Repeat("x", 1<<20)
	seq, requests := uint64(0), 0
	agent := controllerFunc(func(string, []byte) ([]byte, error) {
		if requests++; requests > 100 {
			return nil, errors.New("asked too often")
		}
		seq++
		return KernelLog{Records: []KernelRecord{{Seq: seq, Text: text}}, Next: seq + 1}.marshal(true), nil
	})
	_, err := QueryKernelLog(t.Context(), agent, KernelLogQuery{})
	assert.EqualError(t, err, "read kernel log: more than 16 MiB")
	assert.Equal(t, 16, requests)
}

func FuzzParseKmsg(f *testing.F) {
	f.Add("6,1,2,-;text\n SUBSYSTEM=x\n")
	f.Add("6,1,2,-,caller=T1;\n")
	f.Add("18446744073709551615,1,2;")
	f.Fuzz(func(t *testing.T, record string) {
		r, _, ok := parseKmsg(record)
		if ok && (strings.Contains(r.Text, "\n") || r.Level < 0 || r.Level > 7 || r.Monotonic < 0) {
			t.Errorf("parse %q: %+v", record, r)
		}
	})
}

func FuzzKernelLogReply(f *testing.F) {
	f.Add(KernelLog{Records: []KernelRecord{{1, time.Second, 3, "text"}}, Oldest: 1, Next: 2, Now: time.Minute}.marshal(true))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, reply []byte) {
		l, more, err := parseKernelLog(reply)
		if err != nil {
			return
		}
		again, _, err := parseKernelLog(l.marshal(more))
		require.NoError(t, err)
		assert.Equal(t, l, again)
	})
}

func FuzzKernelLogQuery(f *testing.F) {
	f.Add(KernelLogQuery{Seq: 1, Monotonic: time.Second, Prefixes: []string{"a", ""}}.marshal())
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		q, err := parseKernelLogQuery(payload)
		if err != nil {
			return
		}
		again, err := parseKernelLogQuery(q.marshal())
		require.NoError(t, err)
		assert.Equal(t, q, again)
	})
}
