package vmtest

import (
	"fmt"
	"io"
	"sync"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/tail"
)

// notice says a line that a person should see.
func (c Config) notice(text string) { c.Progress(images.Progress{Notice: true, Text: text}) }

// progressPrinter tells a person of notices and of the stages of an image's build, a
// line each. Packages come in two rounds of the same stages, which are said once.
func progressPrinter(w io.Writer) func(images.Progress) {
	var mu sync.Mutex
	type stage struct {
		image string
		stage images.Stage
	}
	said := make(map[stage]bool)
	return func(p images.Progress) {
		mu.Lock()
		defer mu.Unlock()
		text := p.Text
		if !p.Notice {
			one := stage{p.Image, p.Stage}
			if said[one] || p.Stage == images.Checking || p.Stage == images.Waiting || p.Stage == "" {
				return
			}
			said[one] = true
			text = string(p.Stage)
		}
		if p.Image != "" {
			text = p.Image + ": " + text
		}
		fmt.Fprintln(w, "vmtest:", tail.Printable(text))
	}
}
