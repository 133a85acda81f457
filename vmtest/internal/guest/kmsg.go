package guest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

const (
	// kmsgBuffer is larger than any record of /dev/kmsg, in bytes
	// (kernel/printk/printk.c, CONSOLE_EXT_LOG_MAX).
	kmsgBuffer = 16 << 10

	// kmsgReads bounds a query while other processes go on logging. It is more
	// than the records that a kernel keeps with a log_buf_len of 1 MiB.
	kmsgReads = 1 << 15

	// kmsgReply bounds the records of one reply, in bytes on the wire.
	kmsgReply = wire.MaxPayload - 1<<10
)

// readKernelLog answers a KernelLogRequest from /dev/kmsg.
func readKernelLog(payload []byte) ([]byte, error) {
	q, err := parseKernelLogQuery(payload)
	if err != nil {
		return nil, fmt.Errorf("parse kernel log query: %w", err)
	}
	// Not by package os: a poller would wait for the next record.
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open kernel log: %w", err)
	}
	defer unix.Close(fd)
	l, more, err := q.collect(func(p []byte) (int, error) { return unix.Read(fd, p) })
	if err != nil {
		return nil, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return nil, fmt.Errorf("read monotonic clock: %w", err)
	}
	l.Now = time.Duration(now.Nano())
	return l.marshal(more), nil
}

// collect reads records until there are no more or the reply is full. Each call of
// read returns one record, as a read(2) of /dev/kmsg does.
//
// See Documentation/ABI/testing/dev-kmsg in the kernel's sources.
func (q KernelLogQuery) collect(read func([]byte) (int, error)) (l KernelLog, more bool, err error) {
	l.Next = q.Seq
	buf := make([]byte, kmsgBuffer)
	first, size := true, 0
	for range kmsgReads {
		n, err := read(buf)
		switch {
		case err == nil && n == 0, errors.Is(err, unix.EAGAIN):
			return l, false, nil
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EINTR):
			continue // a record was overwritten, or is longer than the buffer
		case err != nil:
			return l, false, fmt.Errorf("read kernel log: %w", err)
		}
		r, facility, ok := parseKmsg(string(buf[:n]))
		if !ok {
			continue
		}
		if first {
			l.Oldest, first = r.Seq, false
		}
		if facility == 0 && q.selects(r) {
			if size += 4 + len(r.marshal()); size > kmsgReply {
				return l, true, nil
			}
			l.Records = append(l.Records, r)
		}
		l.Next = r.Seq + 1
	}
	return l, false, nil
}

func (q KernelLogQuery) selects(r KernelRecord) bool {
	return r.Seq >= q.Seq && r.Monotonic >= q.Monotonic && (len(q.Prefixes) == 0 ||
		slices.ContainsFunc(q.Prefixes, func(prefix string) bool { return strings.HasPrefix(r.Text, prefix) }))
}

// parseKmsg parses a record as /dev/kmsg returns it:
//
//	PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,...];TEXT
//	 KEY=VALUE
//
// facility is 0 only for the kernel's own records: it never takes that number from
// a program that writes to /dev/kmsg (devkmsg_write in kernel/printk/printk.c).
func parseKmsg(record string) (r KernelRecord, facility uint64, ok bool) {
	header, text, ok := strings.Cut(record, ";")
	if !ok {
		return r, 0, false
	}
	fields := strings.SplitN(header, ",", 4)
	if len(fields) < 3 {
		return r, 0, false
	}
	var numbers [3]uint64
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.ParseUint(fields[i], 10, 63); err != nil {
			return r, 0, false
		}
	}
	r.Text, _, _ = strings.Cut(text, "\n")
	r.Level, facility = int(numbers[0]&7), numbers[0]>>3
	r.Seq, r.Monotonic = numbers[1], micros(numbers[2])
	return r, facility, true
}
