package vmtest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

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

// A collector that fails or hangs takes nothing from the others, and all are ended.
func TestWriteCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running []*collector
		killed := make(map[string]bool)
		told := make(chan string, 3)
		for _, name := range []string{"fails", "hangs", "writes"} {
			in, stdin := io.Pipe()
			c := &collector{program: name, stdin: stdin, output: newReadyWriter(), ended: make(chan error, 1)}
			c.kill = func() { killed[name] = true; in.Close() }
			running = append(running, c)
			go func() {
				line, err := bufio.NewReader(in).ReadString('\n')
				if err != nil || line != "write\n" {
					return
				}
				told <- name
				switch name {
				case "fails":
					_, _ = io.WriteString(c.output, "failed: no space\n")
					c.ended <- errors.New("exit status 1")
				case "writes":
					c.ended <- nil
				}
			}()
		}
		err := writeCounters(t.Context(), running)
		assert.ErrorContains(t, err, "collect coverage of fails: exit status 1; stderr:\nfailed: no space")
		assert.ErrorContains(t, err, "collect coverage of hangs: ")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotContains(t, err.Error(), "coverage of writes")
		assert.Len(t, told, 3, "collectors that were told to write")
		assert.Equal(t, map[string]bool{"fails": true, "hangs": true, "writes": true}, killed)
	})
}
