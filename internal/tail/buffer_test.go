package tail

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBufferKeepsTheEnd(t *testing.T) {
	b := NewBuffer(4)
	b.Write([]byte("ab"))
	data, dropped := b.Bytes()
	assert.Equal(t, "ab", string(data))
	assert.False(t, dropped)
	for _, s := range []string{"cdef", "g", "", "hi"} {
		n, err := b.Write([]byte(s))
		assert.NoError(t, err)
		assert.Equal(t, len(s), n)
	}
	data, dropped = b.Bytes()
	assert.Equal(t, "fghi", string(data))
	assert.True(t, dropped)
}

func TestBufferSince(t *testing.T) {
	b := NewBuffer(4)
	b.Write([]byte("abc"))
	mark := b.Written()
	assert.Empty(t, b.Since(mark))
	b.Write([]byte("d"))
	assert.Equal(t, "d", string(b.Since(mark)))
	b.Write([]byte("efghijkl"))
	assert.Equal(t, "ijkl", string(b.Since(mark)), "as far as it is kept")
	assert.Empty(t, b.Since(100))
}

func TestBufferIsBounded(t *testing.T) {
	b := NewBuffer(1000)
	for range 1000 {
		b.Write([]byte(strings.Repeat("x", 777)))
		assert.LessOrEqual(t, len(b.data), 2000)
	}
}

func TestTornLineIsLeftOut(t *testing.T) {
	b := NewBuffer(12)
	b.Write([]byte("one\ntwo\nthree\n"))
	assert.Equal(t, "two\nthree", b.String())
	assert.Equal(t, []string{"two", "three"}, b.Lines(9))
	b.Write([]byte("four\n"))
	assert.Equal(t, "three\nfour", b.String())
	b.Write([]byte("a line that is longer\n"))
	assert.Equal(t, "t is longer", b.String(), "the end of the only line")
}

func TestLinesAreTheLastOnes(t *testing.T) {
	b := NewBuffer(1000)
	b.Write([]byte("one\r\ntwo\r\nthree\r\n"))
	assert.Equal(t, []string{"two", "three"}, b.Lines(2))
	assert.Empty(t, NewBuffer(10).Lines(5))
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\n":          "plain\ttext\n",
		"\x1b[31mred\x1b[0m":     "red",
		"\x1b]0;title\x07after":  "after",
		"\x1b]52;c;YQ==\x1b\\ok": "ok",
		"bell\x07 and \x9b31m":   "bell\ufffd and \ufffd31m",
		"caf\xe9 é":              "caf\ufffd é",
		"\x1b[!p\x1b[?7hboot":    "boot",
	} {
		assert.Equal(t, want, Printable(in), "what is safe to print of %q", in)
	}
}
