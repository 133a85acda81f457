package vmtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A collector is ready at the line that says so, however its output is cut into pieces, and
// its output is bounded.
func TestReadyWriter(t *testing.T) {
	for name, c := range map[string]struct {
		writes []string
		ready  bool
	}{
		"a line":                       {[]string{"ready\n"}, true},
		"pieces":                       {[]string{"re", "ady", "\n"}, true},
		"after a warning":              {[]string{"warning: old\nready\nwrote"}, true},
		"after much":                   {[]string{strings.Repeat("warning\n", 1<<16), "ready\n"}, true},
		"no end of the line":           {[]string{"ready"}, false},
		"a part of a line":             {[]string{"al", "ready\n"}, false},
		"a part of a line that is cut": {[]string{strings.Repeat("a", 1<<16) + "ready\n"}, false},
	} {
		w := newReadyWriter()
		for _, text := range c.writes {
			n, err := w.Write([]byte(text))
			assert.NoError(t, err)
			assert.Equal(t, len(text), n)
		}
		ready := false
		select {
		case <-w.ready:
			ready = true
		default:
		}
		assert.Equal(t, c.ready, ready, name)
		assert.Less(t, len(w.lines()), 4<<10, name)
	}
}
