package proc

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseStat(t *testing.T) {
	const rest = " S 7 2 99 0 -1 6 7 8 9 10 150 50 0 0\n"
	for _, name := range []string{"(qemu)", "(a) b)", "(\n))", "(a) b (c\n)"} {
		s, err := ParseStat([]byte("12 " + name + rest))
		require.NoError(t, err, name)
		assert.Equal(t, Stat{State: 'S', Parent: 7, Session: 99, Ran: 2 * time.Second}, s, name)
	}
	for text, says := range map[string]string{
		"":                                       "parse stat: 0 fields after the name",
		")":                                      "parse stat: 0 fields after the name",
		"12 (qemu)":                              "parse stat: 0 fields after the name",
		"12 (qemu) S 1 2\n":                      "parse stat: 3 fields after the name",
		"12 (qemu) S 1 2 3 4 5 6 7 8 9 10 x 50":  `parsing "x"`,
		"12 (qemu) S -1 2 3 4 5 6 7 8 9 10 0 50": `parsing "-1"`,
	} {
		_, err := ParseStat([]byte(text))
		assert.ErrorContains(t, err, says, text)
	}
}

func TestParseOwnStat(t *testing.T) {
	text, err := os.ReadFile("/proc/thread-self/stat") // other threads may sleep
	require.NoError(t, err)
	s, err := ParseStat(text)
	require.NoError(t, err)
	assert.Equal(t, byte('R'), s.State)
	assert.Equal(t, os.Getppid(), s.Parent)
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (qemu) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0\n"))
	f.Add([]byte("123 (a) b (c\n) S 7 123 99 0 -1 4194560\n"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseStat(text)
		if err != nil {
			return
		}
		if s.Parent < 0 || s.Session < 0 || s.Ran < 0 {
			t.Errorf("%q: %+v", text, s)
		}
	})
}
