package vmtest

import (
	"fmt"
	"io"
	"sync"

	"example.org/systemd-vmtest/images"
)

// progressPrinter tells a person of notices and of the stages of an image's build,
// a line each.
func progressPrinter(w io.Writer) func(images.Progress) {
	var mu sync.Mutex
	var last images.Stage
	return func(p images.Progress) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case p.Notice:
			fmt.Fprintln(w, "vmtest:", p.Text)
		case p.Stage != last && p.Stage != images.Checking && p.Stage != "":
			fmt.Fprintf(w, "vmtest: image %s: %s\n", p.Image, p.Stage)
		}
		last = p.Stage
	}
}
