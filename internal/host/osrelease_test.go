package host

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseOSRelease(t *testing.T) {
	got := ParseOSRelease([]byte(`# a comment
ID=debian
PRETTY_NAME="Debian GNU/Linux 13 (trixie)"
QUOTED="it's \"so\" \$HOME \\ \n"
SINGLE='a "b" \$c'
 INDENTED=x` + "\r" + `
NOT A PAIR
=nameless
TORN="abc
EMPTY=
`))
	assert.Equal(t, map[string]string{
		"ID": "debian", "PRETTY_NAME": "Debian GNU/Linux 13 (trixie)", "QUOTED": `it's "so" $HOME \ \n`,
		"SINGLE": `a "b" \$c`, "INDENTED": "x", "TORN": `"abc`, "EMPTY": "",
	}, got)
}

func FuzzParseOSRelease(f *testing.F) {
	f.Add([]byte("ID=debian\nVERSION_ID=\"12\"\n"))
	f.Add([]byte("A='\nB=\"\\\"\n=\n#=\nC=\"\\\\\""))
	f.Fuzz(func(t *testing.T, b []byte) {
		for key, value := range ParseOSRelease(b) {
			assert.NotEmpty(t, key)
			assert.NotContains(t, key+value, "\n")
			assert.Contains(t, string(b), key)
			assert.LessOrEqual(t, strings.Count(value, ""), len(b)+1)
		}
	})
}
