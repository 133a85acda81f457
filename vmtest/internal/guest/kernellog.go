package guest

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// KernelLogRequest is the name of the control request that returns what the
// kernel itself has logged. QueryKernelLog sends it.
const KernelLogRequest = "kernel-log"

// KernelLogQuery selects records of the kernel's log. The zero value selects all
// that the kernel still keeps.
type KernelLogQuery struct {
	Seq       uint64        // lowest sequence number
	Monotonic time.Duration // lowest time, by the clock of KernelRecord.Monotonic
	Prefixes  []string      // how the text may begin; none selects any text
}

// KernelLog is the answer to a KernelLogQuery.
type KernelLog struct {
	// Records are the records selected, oldest first.
	Records []KernelRecord

	// Oldest is the lowest sequence number that the kernel still keeps. A query
	// from a lower number on may have missed records.
	Oldest uint64

	// Next is the sequence number after the last record that was looked at,
	// selected or not. A query from Next on returns only what is logged later. A
	// query from math.MaxUint64 on finds no more than Next.
	Next uint64

	// Now is the time of the answer, as KernelRecord.Monotonic.
	Now time.Duration
}

// KernelRecord is one record that the kernel wrote into its log. User space cannot
// write such a record, but parts of its text, such as a process's name, can come
// from there: compare how the text begins.
type KernelRecord struct {
	Seq uint64

	// Monotonic is the time since the guest's boot. The kernel takes it from a
	// clock that can differ from CLOCK_MONOTONIC by some milliseconds.
	Monotonic time.Duration

	Level int    // as in syslog(3): 0 is an emergency, 7 is for debugging
	Text  string // with bytes that are not printable ASCII, and backslashes, as \xNN
}

// Controller sends control requests to an agent. *link.Client is one.
type Controller interface {
	Control(ctx context.Context, name string, payload []byte) ([]byte, error)
}

// maxKernelLog bounds the replies to one QueryKernelLog, in bytes on the wire. A kernel
// keeps less, unless its log_buf_len is larger.
const maxKernelLog = 16 << 20

// QueryKernelLog asks an agent for records of its kernel's log. It returns an error if the
// agent sends more than 16 MiB.
func QueryKernelLog(ctx context.Context, agent Controller, q KernelLogQuery) (KernelLog, error) {
	var all KernelLog
	size := 0
	for {
		reply, err := agent.Control(ctx, KernelLogRequest, q.marshal())
		if err != nil {
			return KernelLog{}, fmt.Errorf("read kernel log: %w", err)
		}
		if size += len(reply); size > maxKernelLog {
			return KernelLog{}, fmt.Errorf("read kernel log: more than %d MiB", maxKernelLog>>20)
		}
		part, more, err := parseKernelLog(reply)
		if err != nil {
			return KernelLog{}, fmt.Errorf("read kernel log: parse reply: %w", err)
		}
		all.Records = append(all.Records, part.Records...)
		all.Oldest, all.Next, all.Now = part.Oldest, part.Next, part.Now
		if !more {
			return all, nil
		}
		if part.Next <= q.Seq {
			return KernelLog{}, fmt.Errorf("read kernel log: reply ends at record %d, query began at %d", part.Next, q.Seq)
		}
		q.Seq = part.Next
	}
}

// kernelLogQuery is a KernelLogQuery on the wire.
type kernelLogQuery struct {
	Seq, Micros uint64
	Prefixes    string // by wire.Pack
}

// kernelLogReply is a KernelLog on the wire, or as much of it as one reply holds.
type kernelLogReply struct {
	Oldest, Next, Micros uint64
	More                 bool
	Records              string // each a kernelLogRecord, by wire.Pack
}

type kernelLogRecord struct {
	Seq, Micros uint64
	Level       uint32
	Text        string
}

func (q KernelLogQuery) marshal() []byte {
	return ssh.Marshal(kernelLogQuery{
		Seq:      q.Seq,
		Micros:   uint64(max(q.Monotonic, 0).Microseconds()),
		Prefixes: wire.Pack(q.Prefixes),
	})
}

func parseKernelLogQuery(payload []byte) (KernelLogQuery, error) {
	var raw kernelLogQuery
	if err := ssh.Unmarshal(payload, &raw); err != nil {
		return KernelLogQuery{}, err
	}
	prefixes, err := wire.Unpack(raw.Prefixes)
	if err != nil {
		return KernelLogQuery{}, fmt.Errorf("prefixes: %w", err)
	}
	return KernelLogQuery{Seq: raw.Seq, Monotonic: micros(raw.Micros), Prefixes: prefixes}, nil
}

func (l KernelLog) marshal(more bool) []byte {
	records := make([]string, len(l.Records))
	for i, r := range l.Records {
		records[i] = string(r.marshal())
	}
	return ssh.Marshal(kernelLogReply{l.Oldest, l.Next, uint64(l.Now.Microseconds()), more, wire.Pack(records)})
}

func (r KernelRecord) marshal() []byte {
	return ssh.Marshal(kernelLogRecord{r.Seq, uint64(r.Monotonic.Microseconds()), uint32(r.Level), r.Text})
}

func parseKernelLog(reply []byte) (l KernelLog, more bool, err error) {
	var raw kernelLogReply
	if err := ssh.Unmarshal(reply, &raw); err != nil {
		return l, false, err
	}
	records, err := wire.Unpack(raw.Records)
	if err != nil {
		return l, false, fmt.Errorf("records: %w", err)
	}
	for i, packed := range records {
		var r kernelLogRecord
		if err := ssh.Unmarshal([]byte(packed), &r); err != nil {
			return l, false, fmt.Errorf("record %d: %w", i, err)
		}
		l.Records = append(l.Records, KernelRecord{r.Seq, micros(r.Micros), int(r.Level), r.Text})
	}
	l.Oldest, l.Next, l.Now = raw.Oldest, raw.Next, micros(raw.Micros)
	return l, raw.More, nil
}

// maxMicros is the longest time.Duration.
const maxMicros = uint64(1<<63-1) / uint64(time.Microsecond)

func micros(n uint64) time.Duration {
	return time.Duration(min(n, maxMicros)) * time.Microsecond
}
