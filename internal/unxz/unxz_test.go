package unxz

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"
)

var text = strings.Repeat("some text ", 100)

// archive returns text as xz, in blocks of 300 bytes.
func archive(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.WriterConfig{BlockSize: 300}.NewWriter(&b)
	require.NoError(t, err)
	_, err = io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// header returns the header of a block with a dictionary of the size code, and optional
// fields of the flags.
func header(code, flags byte) []byte {
	h := []byte{0, flags}
	for _, field := range []byte{0x40, 0x80} {
		if flags&field != 0 {
			h = append(h, 0xf0, 0x7f) // of two bytes
		}
	}
	h = append(h, 0x21, 1, code)
	h = append(h, make([]byte, 3-(len(h)-1)%4)...)
	h[0] = byte(len(h) / 4)
	return binary.LittleEndian.AppendUint32(h, crc32.ChecksumIEEE(h))
}

const (
	code8MiB   = 22 // what package xz writes
	code128MiB = 30
	code192MiB = 31
	code4GiB   = 40
)

func TestNewReader(t *testing.T) {
	plain := archive(t)
	first := header(code8MiB, 0)
	require.Equal(t, 4, bytes.Count(plain, first), "blocks")
	for name, tc := range map[string]struct {
		source []byte
		want   int64 // bytes of the dictionary that is refused
	}{
		"plain":              {plain, 0},
		"two streams":        {append(bytes.Clone(plain), plain...), 0},
		"as large as it may": {bytes.ReplaceAll(plain, first, header(code128MiB, 0)), 0},
		"larger":             {bytes.ReplaceAll(plain, first, header(code192MiB, 0)), 192 << 20},
		"the largest":        {bytes.ReplaceAll(plain, first, header(code4GiB, 0)), 1<<32 - 1},
		"in the last block":  {replaceLast(plain, first, header(code4GiB, 0)), 1<<32 - 1},
		"in the next stream": {append(bytes.Clone(plain), bytes.Replace(plain, first, header(code4GiB, 0), 1)...), 1<<32 - 1},
		"after a size":       {bytes.Replace(plain, first, header(code4GiB, 0x40), 1), 1<<32 - 1},
		"after two sizes":    {bytes.Replace(plain, first, header(code4GiB, 0xc0), 1), 1<<32 - 1},
	} {
		t.Run(name, func(t *testing.T) {
			for _, in := range []io.Reader{bytes.NewReader(tc.source), iotest.OneByteReader(bytes.NewReader(tc.source))} {
				r, err := NewReader(in)
				require.NoError(t, err)
				b, err := io.ReadAll(r)
				if tc.want == 0 {
					require.NoError(t, err)
					assert.Contains(t, []string{text, text + text}, string(b))
					continue
				}
				var large *DictionaryError
				require.ErrorAs(t, err, &large)
				assert.Equal(t, tc.want, large.Size)
			}
		})
	}
	_, err := NewReader(strings.NewReader("text"))
	require.Error(t, err)
	for end := range plain {
		got, err := readAll(NewReader(bytes.NewReader(plain[:end])))
		want, wantErr := readAll(xz.NewReader(bytes.NewReader(plain[:end])))
		require.Equal(t, wantErr, err, "torn after %d bytes", end)
		require.Equal(t, want, got, "torn after %d bytes", end)
	}
}

func readAll[R io.Reader](r R, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func replaceLast(b, old, with []byte) []byte {
	at := bytes.LastIndex(b, old)
	return bytes.Join([][]byte{b[:at], b[at+len(old):]}, with)
}

// A chunk can have more bytes than its content takes. Package xz takes the rest for what
// comes after the chunk.
func TestHeaderInsideAChunk(t *testing.T) {
	plain := archive(t)
	first := header(code8MiB, 0)
	chunk := bytes.Index(plain, first) + len(first)
	packed := plain[chunk+3 : chunk+5]
	require.EqualValues(t, 0xe0, plain[chunk], "LZMA with all reset")
	binary.BigEndian.PutUint16(packed, 0xffff)
	r, err := NewReader(bytes.NewReader(replaceLast(plain, first, header(code4GiB, 0))))
	require.NoError(t, err)
	_, err = io.ReadAll(r)
	require.ErrorAs(t, err, new(*DictionaryError))
}
