package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// maxEntry is the most bytes of an entry that are kept. journald takes entries of several
// hundred MB.
const maxEntry = 16 << 20

// maxName is the most bytes of a field's name (journald's journal_field_valid).
const maxName = 64

// keptBuffer is the most bytes of an empty buffer that is kept.
const keptBuffer = 256 << 10

// decoder splits a stream in the journal export format into entries. See
// https://systemd.io/JOURNAL_EXPORT_FORMATS.
//
// An entry is a number of fields and an empty line. A field is a line FIELD=value or, if
// the value is not text, the line FIELD, the value's size in 8 bytes, the value and a line
// feed.
type decoder struct {
	buf     []byte // of the entry that is not complete
	pos     int    // in buf: what comes before is split already
	skip    uint64 // bytes of the value that is not kept
	dropped bool   // the beginning of buf's entry was not kept
	head    []byte // its first field
	err     error
}

// write takes the next part of the stream and calls each with every entry that it
// completes. The entry's bytes belong to each. dropped reports that the entry has more
// than maxEntry bytes; then each gets only its first field, the cursor, and its end. After an error nothing can be split any
// more.
func (d *decoder) write(p []byte, each func(raw []byte, dropped bool)) error {
	if d.err != nil {
		return d.err
	}
	if d.skip > 0 {
		n := min(d.skip, uint64(len(p)))
		p, d.skip = p[n:], d.skip-n
	}
	d.buf = append(d.buf, p...)
	start := 0 // of the entry
	for {
		more, complete, err := d.step(d.buf[d.pos:])
		if err != nil {
			d.err = fmt.Errorf("read journal: %w", err)
			return d.err
		}
		d.pos += more
		if complete {
			if d.pos-start > 1 || d.dropped { // not an empty line alone
				each(slices.Concat(d.head, d.buf[start:d.pos]), d.dropped)
			}
			start, d.dropped, d.head = d.pos, false, nil
			continue
		}
		if d.pos-start > maxEntry {
			if d.head == nil {
				d.head = firstLine(d.buf[start:d.pos])
			}
			d.dropped, start = true, d.pos
		}
		if more == 0 {
			break
		}
	}
	d.buf = append(d.buf[:0], d.buf[start:]...)
	d.pos -= start
	if cap(d.buf) > keptBuffer && len(d.buf) == 0 {
		d.buf = nil
	}
	return nil
}

// firstLine returns a copy of the first line of an entry, if that is short. journalctl begins
// an entry with its cursor.
func firstLine(entry []byte) []byte {
	const most = 4 << 10
	end := bytes.IndexByte(entry[:min(len(entry), most)], '\n')
	return bytes.Clone(entry[:end+1])
}

// step returns the number of bytes of the field that b begins with, 0 if b does not have
// all of it, and whether b begins with the end of an entry instead.
func (d *decoder) step(b []byte) (n int, complete bool, err error) {
	end := bytes.IndexByte(b, '\n')
	name := b
	if end >= 0 {
		name = b[:end]
	}
	name, _, text := bytes.Cut(name, []byte("="))
	switch {
	case len(name) > maxName:
		return 0, false, fmt.Errorf("the name of a field has more than %d bytes: %.80q", maxName, name)
	case end < 0 && len(b) > maxEntry:
		return 0, false, fmt.Errorf("field %q has a line of more than %d MiB", name, maxEntry>>20)
	case end < 0:
		return 0, false, nil
	case end == 0:
		return 1, true, nil
	case len(name) == 0:
		return 0, false, errors.New("a field has no name")
	case text:
		return end + 1, false, nil
	}
	const sizeBytes = 8
	value := end + 1 + sizeBytes
	if len(b) < value {
		return 0, false, nil
	}
	size := binary.LittleEndian.Uint64(b[end+1:])
	have := uint64(len(b) - value)
	if size > maxEntry {
		if size > 1<<40 {
			return 0, false, fmt.Errorf("field %q has %d bytes", name, size)
		}
		d.dropped = true
		n := min(size+1, have)
		d.skip = size + 1 - n
		return value + int(n), false, nil
	}
	if have < size+1 {
		return 0, false, nil
	}
	if b[value+int(size)] != '\n' {
		return 0, false, fmt.Errorf("field %q has no line feed after its %d bytes", name, size)
	}
	return value + int(size) + 1, false, nil
}

// rest returns what was written of the entry that is not complete.
func (d *decoder) rest() []byte { return d.buf }

// splitFields calls each with the fields of an entry that a decoder has returned. Name and
// value are parts of raw.
func splitFields(raw []byte, each func(name string, value []byte)) {
	var d decoder
	for len(raw) > 0 {
		n, complete, err := d.step(raw)
		if err != nil || complete || n == 0 {
			return
		}
		field := raw[:n-1]
		raw = raw[n:]
		if line, _, binary := bytes.Cut(field, []byte{'\n'}); binary && !bytes.Contains(line, []byte{'='}) {
			each(string(line), field[len(line)+1+8:])
			continue
		}
		name, value, _ := bytes.Cut(field, []byte{'='})
		each(string(name), value)
	}
}
