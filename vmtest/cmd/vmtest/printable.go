package main

import (
	"bytes"
	"io"

	"example.org/systemd-vmtest/internal/tail"
)

// lineMax is the most bytes of a line that are kept back until its end.
const lineMax = 4 << 10

// printableWriter makes untrusted text safe for a terminal. It writes whole lines, so
// that no control sequence passes in two halves.
type printableWriter struct {
	w    io.Writer
	line []byte
}

func (p *printableWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n') + 1
		if end == 0 {
			end = len(b)
		}
		end = min(end, lineMax-len(p.line))
		p.line = append(p.line, b[:end]...)
		b = b[end:]
		if len(p.line) == lineMax || p.line[len(p.line)-1] == '\n' {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush writes what is kept back.
func (p *printableWriter) flush() error {
	if len(p.line) == 0 {
		return nil
	}
	text := tail.Printable(string(bytes.ReplaceAll(p.line, []byte("\r\n"), []byte("\n"))))
	p.line = p.line[:0]
	_, err := io.WriteString(p.w, text)
	return err
}
