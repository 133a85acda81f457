package main

import (
	"errors"
	"io"
	"syscall"
)

// output is a standard stream of this program. Its errors show whether the reader of the
// stream has closed it. Other connections of the program can break with the same errno.
type output struct{ w io.Writer }

// outputClosedError reports that the reader of a standard stream has closed it.
type outputClosedError struct{ err error }

func (e *outputClosedError) Error() string { return e.err.Error() }

func (e *outputClosedError) Unwrap() error { return e.err }

func (o output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		err = &outputClosedError{err}
	}
	return n, err
}

// unwrap returns the stream behind an output, which child processes inherit.
func unwrap(w io.Writer) io.Writer {
	if o, ok := w.(output); ok {
		return o.w
	}
	return w
}
