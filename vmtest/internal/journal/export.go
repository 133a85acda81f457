package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// maxEntry is the most bytes of an entry that are kept. journald takes entries of several
// hundred MB. A field that would make an entry larger is left out.
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
// feed. journalctl stops within an entry, and begins the next one, if the entry's file is
// removed while it reads that, and may print zeros where the file had been.
type decoder struct {
	buf    []byte // of the entry that is not complete
	pos    int    // in buf: what comes before is split already
	skip   skip
	cut    bool   // a field of the entry was left out
	damage string // why a line of the entry is no field, if one is not
	kept   []byte // of the entry before that line; the rest of it is left out
}

// skip is what is still to come of a field that is left out.
type skip struct {
	bytes uint64
	line  bool // up to the next line feed
}

// of returns what p has after the field.
func (s *skip) of(p []byte) []byte {
	n := min(s.bytes, uint64(len(p)))
	p, s.bytes = p[n:], s.bytes-n
	if s.line {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			return nil
		}
		p, s.line = p[end+1:], false
	}
	return p
}

// write takes the next part of the stream and calls each with every entry that it
// completes. The entry's bytes belong to each. cut reports that fields were left out, because
// the entry would have more than maxEntry bytes with them, and damage what else was left out
// because it is no field, or is "".
func (d *decoder) write(p []byte, each func(raw []byte, cut bool, damage string)) {
	d.buf = append(d.buf, d.skip.of(p)...)
	start := 0 // of the entry
	ends := func(next int) {
		switch {
		case d.damage != "":
			each(slices.Concat(d.kept, []byte{'\n'}), d.cut, d.damage)
		case d.pos > start || d.cut: // not an empty line alone
			each(slices.Concat(d.buf[start:d.pos], []byte{'\n'}), d.cut, "")
		}
		start, d.pos, d.cut, d.damage, d.kept = next, next, false, "", nil
	}
	for {
		f, err := nextField(d.buf[d.pos:])
		if err == nil && f.whole && d.buf[d.pos+int(f.size)-1] != '\n' {
			err = fmt.Errorf("field %q has no line feed after its %d bytes", f.name, f.value)
		}
		have := len(d.buf) - d.pos
		switch {
		case err != nil: // the next line may be a field
			if d.damage == "" {
				d.damage, d.kept = err.Error(), bytes.Clone(d.buf[start:d.pos])
			}
			d.skip = skip{line: true}
			d.pos = len(d.buf) - len(d.skip.of(d.buf[d.pos:]))
			start = d.pos
			continue
		case f.size == 0:
		case f.end:
			ends(d.pos + 1)
			continue
		case (d.pos > start || d.damage != "") && f.whole && string(f.name) == cursorField:
			ends(d.pos)
			continue
		case uint64(d.pos-start)+f.size > maxEntry:
			d.cut = true
			n := min(f.size, uint64(have))
			d.skip = skip{bytes: f.size - n}
			if !f.sized {
				d.skip = skip{line: true}
			}
			d.buf = slices.Delete(d.buf, d.pos, d.pos+int(n))
			continue
		case f.whole:
			d.pos += int(f.size)
			if d.damage != "" {
				start = d.pos
			}
			continue
		}
		break
	}
	d.buf = append(d.buf[:0], d.buf[start:]...)
	d.pos -= start
	if cap(d.buf) > keptBuffer && len(d.buf) == 0 {
		d.buf = nil
	}
}

// cursorField is the field that each entry begins with.
const cursorField = "__CURSOR"

// field is the field that a part of a stream begins with, or the end of an entry.
type field struct {
	name  []byte
	size  uint64 // of all of it, 0 if that is not known; of a line without its end, more than it has
	value uint64 // bytes of the value, if that is not a line
	sized bool   // size is all of it
	whole bool   // all of it is there
	end   bool   // it is the end of an entry
}

// nextField returns the field that b begins with. It does not look at the line feed after a
// value that is no line.
func nextField(b []byte) (f field, err error) {
	end := bytes.IndexByte(b, '\n')
	line := b
	if end >= 0 {
		line = b[:end]
	}
	name, _, text := bytes.Cut(line, []byte("="))
	f.name = name
	switch {
	case len(name) > maxName:
		return f, fmt.Errorf("the name of a field has more than %d bytes: %q", maxName, name[:maxName])
	case end < 0 && text && len(name) > 0:
		f.size = uint64(len(b)) + 1
		return f, nil
	case end < 0:
		return f, nil
	case end == 0:
		f.size, f.sized, f.whole, f.end = 1, true, true, true
		return f, nil
	case len(name) == 0:
		return f, errors.New("a field has no name")
	case text:
		f.size, f.sized, f.whole = uint64(end)+1, true, true
		return f, nil
	}
	const sizeBytes = 8
	before := end + 1 + sizeBytes
	if len(b) < before {
		return f, nil
	}
	if f.value = binary.LittleEndian.Uint64(b[end+1:]); f.value > 1<<40 {
		return f, fmt.Errorf("field %q has %d bytes", name, f.value)
	}
	f.size, f.sized = uint64(before)+f.value+1, true
	f.whole = uint64(len(b)) >= f.size
	return f, nil
}

// splitFields calls each with the fields of an entry that a decoder has returned. Name and
// value are parts of raw.
func splitFields(raw []byte, each func(name string, value []byte)) {
	for {
		f, err := nextField(raw)
		if err != nil || f.end || !f.whole {
			return
		}
		field := raw[:f.size-1]
		raw = raw[f.size:]
		if line, _, binary := bytes.Cut(field, []byte{'\n'}); binary && !bytes.Contains(line, []byte{'='}) {
			each(string(line), field[len(line)+1+8:])
			continue
		}
		name, value, _ := bytes.Cut(field, []byte{'='})
		each(string(name), value)
	}
}
