package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"example.org/systemd-vmtest/internal/unxz"
)

// Error reports that a source is not the root file system of a guest.
type Error struct {
	Source string // the path of the directory or archive
	Cause  string // one line, about "it"
	Cure   string // one line, possibly empty
	Err    error  // possibly nil
}

func (e *Error) Error() string {
	s := fmt.Sprintf("read %s: %s", e.Source, e.Cause)
	if e.Cure != "" {
		s += " (" + e.Cure + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

const kindsCure = "give a directory, a tar archive, plain or compressed by gzip, zstd or xz, an OCI layout, or what docker save writes"

const moreCure = "leave out what the guest does not need, or raise the bound: --max-size, or ImportOptions.MaxBytes"

func badEntry(name string, err error) error {
	return &Error{Cause: fmt.Sprintf("bad entry %q: %s", name, err), Err: err}
}

// asError returns an error of reading an archive as an *Error. Errors of the file system
// and of a context stay what they are.
func asError(err error) error {
	var file *os.PathError
	var known *Error
	var large *unxz.DictionaryError
	switch {
	case err == nil, errors.As(err, &known), errors.As(err, &file),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &large):
		return &Error{Cause: fmt.Sprintf("the archive needs %d MiB of memory to be uncompressed, and %d are allowed", large.Size>>20, unxz.MaxDictionary>>20),
			Cure: "compress it with a smaller dictionary: xz -9 needs 64 MiB", Err: err}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &Error{Cause: "the archive is torn: it ends too early", Cure: "copy or make it again", Err: err}
	}
	return &Error{Cause: "the archive is damaged: " + err.Error(), Cure: "copy or make it again", Err: err}
}
