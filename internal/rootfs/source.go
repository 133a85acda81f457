package rootfs

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/unxz"
)

// Options are the bounds of [Read].
type Options struct {
	Dir  string // the contents are kept in its file system
	Max  int64  // the most bytes of all contents
	Arch string // the architecture to take of a container image for several, as in runtime.GOARCH
}

// Read reads a root file system from a directory, a tar archive, an OCI layout (a
// directory or a tar archive), or the archive that docker save writes. Archives may be
// compressed by gzip, zstd or xz. The caller closes the tree.
//
// Errors are *Error for what is wrong with the source, those of ctx, and those of the
// file system.
func Read(ctx context.Context, source string, o Options) (*Tree, error) {
	t, err := read(ctx, source, o)
	var bad *Error
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &bad):
		bad.Source = source
	}
	return t, err
}

func read(ctx context.Context, source string, o Options) (*Tree, error) {
	f, err := os.Open(source)
	if err != nil {
		return nil, &Error{Cause: "it cannot be opened: " + cause(err), Cure: kindsCure, Err: err}
	}
	defer f.Close()
	// It can be a pipe, whose writer may take its time.
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read source: %w", err)
	}
	if info.IsDir() {
		return readDir(ctx, source, o)
	}
	t, err := New(o.Dir, o.Max)
	if err != nil {
		return nil, err
	}
	t.Kind = "tar archive"
	if err := t.addCompressed(ctx, f, false, nil); err != nil {
		t.Close()
		return nil, err
	}
	if !isContainer(t) {
		return t, nil
	}
	defer t.Close()
	return readContainer(ctx, t, o)
}

func readDir(ctx context.Context, source string, o Options) (*Tree, error) {
	root, err := os.OpenRoot(source)
	if err != nil {
		return nil, fmt.Errorf("read source: %w", err)
	}
	defer root.Close()
	if s := (dirStore{root}); isContainer(s) {
		return readContainer(ctx, s, o)
	}
	t, err := New(o.Dir, o.Max)
	if err != nil {
		return nil, err
	}
	t.Kind = "directory"
	if err := t.AddDir(ctx, source, "."); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// rawSlack is how many bytes an uncompressed stream may have besides contents.
const rawSlack = 1 << 30

// addCompressed adds a tar stream, compressed or not. sum, if not nil, gets the bytes of
// the uncompressed stream.
func (t *Tree) addCompressed(ctx context.Context, in io.Reader, isLayer bool, sum io.Writer) error {
	r, closeReader, err := Decompress(host.Reader(ctx, in))
	if err != nil {
		return err
	}
	defer closeReader()
	if sum != nil {
		r = io.TeeReader(r, sum)
	}
	return t.addTar(ctx, &boundedReader{r, t.max + rawSlack}, isLayer)
}

// foreign are the beginnings of files that people take for an archive of a root file system.
var foreign = map[string]string{
	"BZh":                              "compressed by bzip2",
	"PK":                               "a zip archive",
	"hsqs":                             "a squashfs",
	"QFI\xfb":                          "a disk image of QEMU",
	"\x7fELF":                          "a program",
	"070701":                           "a cpio archive",
	"!<arch>\n":                        "a Debian package",
	"\xed\xab\xee\xdb":                 "an RPM package",
	"\xe2\xe1\xf5\xe0":                 "an EROFS file system",
	"\x00\x00\x00\x00\x00\x00\x00\x00": "not a tar archive: it begins with zeros, as disk images do",
}

// What a tar archive has in its first header; see tar(5).
const (
	ustar   = "ustar"
	ustarAt = 257
)

// Decompress returns the uncompressed stream of a file that may be compressed by gzip,
// zstd or xz. The caller calls closeReader, unless there is an error, and bounds what it
// reads.
func Decompress(in io.Reader) (r io.Reader, closeReader func(), err error) {
	b := bufio.NewReaderSize(in, 1<<16)
	magic, err := b.Peek(len(ustar) + ustarAt)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, asError(err)
	}
	none := func() {}
	switch begins := func(s string) bool { return strings.HasPrefix(string(magic), s) }; {
	case len(magic) == 0:
		return nil, nil, &Error{Cause: "it is empty", Cure: kindsCure}
	case begins("\x1f\x8b"):
		r, err = gzip.NewReader(b)
		return r, none, asError(err)
	case begins("\xfd7zXZ\x00"):
		r, err = unxz.NewReader(b)
		return r, none, asError(err)
	case begins("\x28\xb5\x2f\xfd"):
		// The zstd command has the same bound of memory.
		d, err := zstd.NewReader(b, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, asError(err)
		}
		return d, d.Close, nil
	}
	isTar := len(magic) > ustarAt && string(magic[ustarAt:]) == ustar // its first entry may have any name
	for begin, what := range foreign {
		if !isTar && strings.HasPrefix(string(magic), begin) {
			return nil, nil, &Error{Cause: "it is " + what, Cure: kindsCure}
		}
	}
	return b, none, nil
}

// boundedReader fails after a number of bytes.
type boundedReader struct {
	io.Reader
	left int64
}

func (r *boundedReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if r.left -= int64(n); r.left < 0 {
		return 0, &Error{Cause: "it is larger than an import may be, once it is uncompressed", Cure: moreCure}
	}
	return n, err
}

// cause returns the text of an error without the path, which stands before it.
func cause(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}
