package tail

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// No control character gets out but tabs and line feeds, and no line feed is added.
func FuzzPrintable(f *testing.F) {
	for _, s := range []string{
		"plain\ttext\n", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07after", "\x1b\x1b[0m[2J", "\x1b]\x1b[0m0;x\x07", "caf\xe9 \u009b31m\r\n", "\x1b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := Printable(s)
		require.True(t, utf8.ValidString(out), "%q", out)
		for _, r := range out {
			require.False(t, unicode.IsControl(r) && r != '\n' && r != '\t', "%q in %q", r, out)
		}
		require.LessOrEqual(t, strings.Count(out, "\n"), strings.Count(s, "\n"))
		require.Equal(t, out, Printable(out), "printed once more")
	})
}
