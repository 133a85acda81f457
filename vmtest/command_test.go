package vmtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCommandIsShownAsTyped(t *testing.T) {
	c := Command{Args: []string{"printf", `it's %s\n`, "", "a-b_c/d.e", "ü"}}
	assert.Equal(t, `printf 'it'\''s %s\n' '' a-b_c/d.e 'ü'`, c.String())
}

func TestCaptureIsBounded(t *testing.T) {
	var c capture
	block := make([]byte, 3<<20)
	for range 6 {
		n, err := c.Write(block)
		assert.NoError(t, err)
		assert.Equal(t, len(block), n)
	}
	got := c.bytes()
	assert.Less(t, len(got), outputKept+200)
	assert.True(t, strings.HasSuffix(string(got), "[vmtest: 2097152 more bytes not kept; set Stdout or Stderr to get all]\n"))
}

func TestLastLinesAreBoundedAndSafe(t *testing.T) {
	assert.Empty(t, lastLines([]byte(" \n")))
	text := lastLines([]byte(strings.Repeat("x", 5000) + "\x1b[31mend"))
	assert.Less(t, len(text), 2200)
	assert.True(t, strings.HasSuffix(text, "xend"))
}
