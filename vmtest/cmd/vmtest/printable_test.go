package main

import (
	"strings"
	"testing"

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
		for i := range len(in) { // the worst that a stream can do: a byte at a time
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
