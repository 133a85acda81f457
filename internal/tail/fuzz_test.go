package tail

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func FuzzPrintable(f *testing.F) {
	f.Add("plain\ttext\n\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b31m")
	f.Add("\x1b\x1b[31m[31m\xc2\x9b\u202eevil\u2066")
	f.Add("\x1b]\x1b[0m0;x\x07 caf\xe9 \r\n \x1b")
	f.Fuzz(func(t *testing.T, s string) {
		out := Printable(s)
		assert.True(t, utf8.ValidString(out))
		for _, r := range out {
			assert.False(t, unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r), "%q", r)
		}
		assert.Equal(t, out, Printable(out), "printed twice")
		assert.Equal(t, strings.Count(s, "\n")-strings.Count(strings.Join(escapes.FindAllString(s, -1), ""), "\n"),
			strings.Count(out, "\n"))
	})
}

func FuzzBuffer(f *testing.F) {
	f.Add([]byte("one\ntwo\nthree\n"), 4, 3)
	f.Add([]byte("\r\n\r\n\x1b[31m"), 7, 1)
	f.Fuzz(func(t *testing.T, data []byte, kept, chunk int) {
		if kept < 1 || kept > 1<<10 || chunk < 1 {
			return
		}
		b := NewBuffer(kept)
		for c := range slices.Chunk(data, chunk) {
			n, err := b.Write(c)
			assert.NoError(t, err)
			assert.Equal(t, len(c), n)
		}
		end, dropped := b.Bytes()
		assert.Equal(t, data[max(0, len(data)-kept):], append([]byte{}, end...))
		assert.Equal(t, len(data) > kept, dropped)
		assert.EqualValues(t, len(data), b.Written())
		assert.True(t, bytes.HasSuffix(end, b.Since(b.Written()-1)))
		assert.True(t, strings.Contains(string(end), b.String()))
		assert.LessOrEqual(t, len(b.Lines(2)), 2)
	})
}
