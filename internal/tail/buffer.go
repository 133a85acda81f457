// Package tail keeps the end of a stream as evidence, and makes text safe to print.
package tail

import (
	"bytes"
	"sync"
)

// Buffer is an io.Writer that keeps the last bytes written to it. Several goroutines
// may use it at once.
type Buffer struct {
	mu      sync.Mutex
	max     int
	data    []byte // at most 2*max
	dropped bool
	total   int64 // bytes written so far
}

// NewBuffer returns a Buffer that keeps the last max bytes.
func NewBuffer(max int) *Buffer { return &Buffer{max: max} }

// Write writes p to the buffer. It never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(p)
	b.total += int64(n)
	if n > b.max {
		p = p[n-b.max:]
		b.dropped = true
	}
	b.data = append(b.data, p...)
	if len(b.data) > 2*b.max {
		b.data = append(b.data[:0], b.data[len(b.data)-b.max:]...)
		b.dropped = true
	}
	return n, nil
}

// Bytes returns a copy of the bytes that are kept. dropped reports whether there were
// others before them.
func (b *Buffer) Bytes() (data []byte, dropped bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data = b.data
	if len(data) > b.max {
		return bytes.Clone(data[len(data)-b.max:]), true
	}
	return bytes.Clone(data), b.dropped
}

// Written returns the number of bytes written so far, dropped ones included.
func (b *Buffer) Written() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// Since returns the bytes that are kept of those after the first written bytes.
func (b *Buffer) Since(written int64) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(max(b.total-written, 0), int64(len(b.data)), int64(b.max))
	return bytes.Clone(b.data[int64(len(b.data))-n:])
}

// String returns the text that is kept, without space at its ends, and without a first
// line whose beginning was dropped.
func (b *Buffer) String() string { return string(bytes.TrimSpace(b.wholeLines())) }

// wholeLines returns the text that is kept, from the beginning of a line on. Only if
// it holds no other line does it start in the middle of one.
func (b *Buffer) wholeLines() []byte {
	data, dropped := b.Bytes()
	if _, rest, found := bytes.Cut(data, []byte("\n")); dropped && found && len(rest) > 0 {
		return rest
	}
	return data
}

// Lines returns the last n lines, each made safe by [Printable]. A guest can print
// control sequences.
func (b *Buffer) Lines(n int) []string {
	data := b.wholeLines()
	lines := bytes.Split(bytes.TrimRight(data, "\r\n"), []byte("\n"))
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	var out []string
	for _, l := range lines {
		if l = bytes.TrimRight(l, "\r"); len(l) > 0 || len(lines) > 1 {
			out = append(out, Printable(string(l)))
		}
	}
	return out
}
