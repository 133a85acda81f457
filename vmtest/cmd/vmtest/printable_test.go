package main

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPrintableWriter(t *testing.T) {
	long := strings.Repeat("x", lineMax+1)
	for in, want := range map[string]string{
		"a\nb\n":                        "a\nb\n",
		"no end":                        "no end",
		"\x1b[31mred\x1b[0m\r\n":        "red\n",
		"\x1b]0;title\x07text\n":        "text\n",
		"\x00\xff\n":                    "\uFFFD\uFFFD\n",
		long:                            long,
		"é\n" + long + "\n\n\tindented": "é\n" + long + "\n\n\tindented",
	} {
		var b strings.Builder
		p := &printableWriter{w: &b}
		for i := range len(in) { // a stream may come a byte at a time
			n, err := p.Write([]byte{in[i]})
			require.NoError(t, err)
			require.Equal(t, 1, n)
		}
		require.NoError(t, p.flush())
		assert.Equal(t, want, b.String())

		b.Reset()
		n, err := p.Write([]byte(in))
		require.NoError(t, err)
		require.Equal(t, len(in), n)
		require.NoError(t, p.flush())
		assert.Equal(t, want, b.String())
	}
}

// However a stream is cut, the same text comes out, and no control character in it.
func FuzzPrintableWriter(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m\r\n\x1b]0;title\x07", uint(1))
	f.Add("a\x1b\n[2Jb", uint(3))
	f.Fuzz(func(t *testing.T, in string, size uint) {
		size = max(1, size%8192)
		var pieces, whole strings.Builder
		p := &printableWriter{w: &pieces}
		for rest := in; rest != ""; {
			n := min(len(rest), int(size))
			_, err := p.Write([]byte(rest[:n]))
			require.NoError(t, err)
			rest = rest[n:]
		}
		require.NoError(t, p.flush())
		p = &printableWriter{w: &whole}
		_, err := p.Write([]byte(in))
		require.NoError(t, err)
		require.NoError(t, p.flush())
		require.Equal(t, whole.String(), pieces.String())
		for _, r := range pieces.String() {
			require.False(t, unicode.IsControl(r) && r != '\n' && r != '\t', "%q", r)
		}
	})
}
