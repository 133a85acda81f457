// Package tail keeps the end of a stream as evidence.
package tail

import (
	"bytes"
	"sync"
)

// Buffer is an io.Writer that keeps the last bytes written to it. Its methods may
// be called from several goroutines.
type Buffer struct {
	mu      sync.Mutex
	max     int
	data    []byte // at most 2*max
	dropped bool
	total   int64 // bytes written so far
}

// NewBuffer returns a Buffer that keeps max bytes.
func NewBuffer(max int) *Buffer { return &Buffer{max: max} }

// Write never fails.
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

// Bytes returns a copy of what is kept, and whether anything before it was
// dropped.
func (b *Buffer) Bytes() (data []byte, dropped bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data = b.data
	if len(data) > b.max {
		return bytes.Clone(data[len(data)-b.max:]), true
	}
	return bytes.Clone(data), b.dropped
}

// Written is how many bytes have been written so far, dropped or not.
func (b *Buffer) Written() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// Since returns what is kept of all that was written after the first so many bytes.
func (b *Buffer) Since(written int64) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(max(b.total-written, 0), int64(len(b.data)), int64(b.max))
	return bytes.Clone(b.data[int64(len(b.data))-n:])
}

// String returns what is kept without space at its ends, and without a first line
// whose beginning was dropped.
func (b *Buffer) String() string { return string(bytes.TrimSpace(b.wholeLines())) }

// wholeLines returns what is kept from the beginning of a line on. A line that is
// longer than what is kept comes without its beginning.
func (b *Buffer) wholeLines() []byte {
	data, dropped := b.Bytes()
	if _, rest, found := bytes.Cut(data, []byte("\n")); dropped && found && len(rest) > 0 {
		return rest
	}
	return data
}

// Lines returns the last n lines, cleaned for a terminal or a log: what a guest
// prints is untrusted text, and may hold control sequences.
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
