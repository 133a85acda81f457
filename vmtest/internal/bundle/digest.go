package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
)

// digestOf returns the digest of a file of a bundle.
func digestOf(ctx context.Context, name string, f *os.File) (string, error) {
	if name == ramName {
		return digestSparse(ctx, f)
	}
	h := sha256.New()
	if _, err := io.Copy(h, host.Reader(ctx, io.NewSectionReader(f, 0, 1<<40))); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// block is the unit of digestSparse, in bytes.
const block = 64 << 10

var zeros [block]byte

// digestSparse returns the SHA-256 of a file's blocks that are not all zeros, each after its
// number in 8 bytes, big-endian. So it reads no hole, and a copy without holes has the same.
func digestSparse(ctx context.Context, f *os.File) (string, error) {
	h := sha256.New()
	buf := make([]byte, block)
	for at := int64(0); ; {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // no data from here on
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", os.NewSyscallError("lseek", err)
		}
		at = data / block * block
		n, err := f.ReadAt(buf, at)
		if err != nil && err != io.EOF {
			return "", err
		}
		if !bytes.Equal(buf[:n], zeros[:n]) {
			var number [8]byte
			binary.BigEndian.PutUint64(number[:], uint64(at/block))
			h.Write(number[:])
			h.Write(buf[:n])
		}
		at += block
	}
}
