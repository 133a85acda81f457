package vmtest

import (
	"fmt"
	"io"
	"sync"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/tail"
)

// notice reports a line that the user should see, even without a progress display.
func (c Config) notice(text string) { c.Progress(images.Progress{Notice: true, Text: text}) }

// progressPrinter returns a function that prints notices and the stages of a build to w,
// a line each. A build installs packages in two rounds, but each stage is printed once.
func progressPrinter(w io.Writer) func(images.Progress) {
	var mu sync.Mutex
	type stage struct {
		image string
		stage images.Stage
	}
	printed := make(map[stage]bool)
	return func(p images.Progress) {
		mu.Lock()
		defer mu.Unlock()
		text := p.Text
		if !p.Notice {
			key := stage{p.Image, p.Stage}
			if printed[key] || p.Stage == images.Checking || p.Stage == images.Waiting || p.Stage == "" {
				return
			}
			printed[key] = true
			text = string(p.Stage)
		}
		if p.Image != "" {
			text = p.Image + ": " + text
		}
		fmt.Fprintln(w, "vmtest:", tail.Printable(text))
	}
}
