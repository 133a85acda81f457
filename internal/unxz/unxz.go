// Package unxz uncompresses the xz format in bounded memory.
package unxz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// MaxDictionary is the most bytes of a dictionary, which stays in memory. xz -9 makes one
// of 64 MiB, and the format allows 4 GiB.
const MaxDictionary = 128 << 20

// DictionaryError reports a dictionary of more than MaxDictionary.
type DictionaryError struct {
	Size int64 // bytes
}

func (e *DictionaryError) Error() string {
	return fmt.Sprintf("xz: a dictionary of %d MiB: want %d or less", e.Size>>20, MaxDictionary>>20)
}

// NewReader returns the uncompressed content of in. Reading fails by a *DictionaryError
// before memory is taken.
func NewReader(in io.Reader) (io.Reader, error) {
	return xz.NewReader(&headerReader{in: in})
}

// headerReader looks at each header of a block before package xz does, which has no such
// bound. A chunk of a bad archive can end elsewhere than it says, so headers are not
// where the format puts them, but where package xz reads them: a byte with the size,
// then exactly the rest, whose checksum is right.
type headerReader struct {
	in   io.Reader
	last byte // that was read
}

func (r *headerReader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := io.ReadFull(r.in, b)
	if n == 0 {
		return 0, err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // the next read is at the end
	}
	if n == int(r.last)*4+3 {
		if size := dictionary(append([]byte{r.last}, b[:n]...)); size > MaxDictionary {
			return 0, &DictionaryError{size}
		}
	}
	r.last = b[n-1]
	return n, err
}

// dictionary returns the size of the dictionary in the header of a block, and 0 if
// package xz does not take it for one. The format is in sections 3.1 and 5.3.1 of
// xz-file-format.txt.
func dictionary(header []byte) int64 {
	end := len(header) - 4
	if end < 4 || crc32.ChecksumIEEE(header[:end]) != binary.LittleEndian.Uint32(header[end:]) {
		return 0
	}
	const compressedSize, uncompressedSize, lzma2 = 0x40, 0x80, 0x21
	flags, rest := header[1], header[2:end]
	for _, field := range []byte{compressedSize, uncompressedSize} {
		if flags&field != 0 {
			_, n := binary.Uvarint(rest)
			rest = rest[max(n, 0):]
		}
	}
	id, n := binary.Uvarint(rest)
	if id != lzma2 || n <= 0 || len(rest) < n+2 {
		return 0
	}
	size, err := lzma.DecodeDictCap(rest[n+1])
	if err != nil {
		return 0
	}
	return size
}
