package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"example.org/systemd-vmtest/internal/tail"
)

// The most of an output that is kept: its beginning and its end, in bytes.
const (
	clippedHead = 48 << 10
	clippedTail = 48 << 10
)

// clipped keeps the beginning and the end of a text.
type clipped struct {
	head strings.Builder
	tail *tail.Buffer
}

func (c *clipped) add(s string) {
	if c.tail == nil {
		if fits := clippedHead - c.head.Len(); len(s) <= fits {
			c.head.WriteString(s)
			return
		}
		c.tail = tail.NewBuffer(clippedTail)
	}
	c.tail.Write([]byte(s))
}

// size returns how many bytes are kept.
func (c *clipped) size() int {
	if c.tail == nil {
		return c.head.Len()
	}
	return clippedHead + clippedTail
}

// reset forgets the text.
func (c *clipped) reset() { *c = clipped{} }

// String returns the text, safe to print, with a line that says how much is cut.
func (c *clipped) String() string {
	text := c.head.String()
	if c.tail != nil {
		end, _ := c.tail.Bytes()
		if cut := c.tail.Written() - int64(len(end)); cut > 0 {
			text += fmt.Sprintf("\n(%d bytes are left out here)\n", cut)
		}
		text += string(end)
	}
	return tail.Printable(text)
}

// inert returns text with U+FFFD for each character that acts on a reader, or that XML 1.0
// excludes. Unlike tail.Printable it never joins what was apart.
func inert(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == 0xfffe || r == 0xffff {
			return utf8.RuneError
		}
		return r
	}, text)
}
