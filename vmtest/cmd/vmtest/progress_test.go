package main

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/images"
)

// A log gets the notices of a build, and each stage once.
func TestProgressPlain(t *testing.T) {
	var b strings.Builder
	p := beginProgress(&b, "starting debian-13")
	for _, e := range []images.Progress{
		{Image: "debian-13", Stage: images.Checking},
		{Image: "debian-13", Stage: images.Checking, Notice: true, Text: "not in the cache;\x1b[2J building it"},
		{Image: "debian-13", Stage: images.Downloading, Done: 1, Total: 90},
		{Image: "debian-13", Stage: images.Downloading, Done: 2, Total: 90},
		{Image: "debian-13", Stage: images.Installing, Done: 1, Total: 90},
		{Image: "debian-13", Stage: images.Downloading, Done: 1, Total: 20},
		{Image: "debian-13", Stage: images.Installing, Done: 1, Total: 20},
		{Image: "debian-13", Stage: images.Packing, Text: "mksquashfs"},
		{Image: "debian-13", Stage: images.Packing},
		{Image: "debian-13 with a.deb", Stage: images.Installing},
		{Notice: true, Text: "waiting"},
	} {
		p.report(e)
	}
	p.stop()
	assert.Equal(t, `vmtest: debian-13: not in the cache; building it
vmtest: debian-13: downloading
vmtest: debian-13: installing
vmtest: debian-13: packing
vmtest: debian-13 with a.deb: installing
vmtest: waiting
`, b.String())
}

// A guest that starts quickly is not mentioned.
func TestProgressQuiet(t *testing.T) {
	var b strings.Builder
	p := beginProgress(&b, "starting debian-13")
	p.report(images.Progress{Image: "debian-13", Stage: images.Checking})
	p.stop()
	assert.Empty(t, b.String())
}

// A terminal shows a bar for packages and a spinner for the rest. In the end only notices
// are left.
func TestProgressOnTerminal(t *testing.T) {
	w := &lockedBuilder{}
	p := &progress{w: w, terminal: true, doing: "starting debian-13", quit: make(chan struct{}), done: make(chan struct{})}
	p.bar = p.newBar(-1, p.doing)
	go p.animate()
	p.report(images.Progress{Image: "debian-13", Stage: images.Checking})
	assert.Contains(t, w.String(), "starting debian-13  [0s]")
	assert.NotContains(t, w.String(), "checking")
	p.report(images.Progress{Image: "debian-13", Stage: images.Checking, Notice: true, Text: "building it"})
	assert.Contains(t, w.String(), "\rvmtest: debian-13: building it\n")
	p.report(images.Progress{Image: "debian-13", Stage: images.Downloading, Done: 45, Total: 90})
	assert.Contains(t, w.String(), "debian-13: downloading  50%")
	assert.Contains(t, w.String(), "(45/90)")
	p.report(images.Progress{Image: "debian-13", Stage: images.Packing})
	assert.Contains(t, w.String(), "debian-13: packing  [0s]")
	p.report(images.Progress{Image: "debian-13 with a.deb", Stage: images.Packing})
	assert.Contains(t, w.String(), "debian-13 with a.deb: packing  [0s]")
	p.report(images.Progress{Image: "debian-13", Stage: images.Finished})
	p.stop()
	text := w.String()
	assert.Contains(t, text[strings.LastIndex(text, "packing"):], "starting debian-13  [0s]")
	last := text[strings.LastIndex(strings.TrimRight(text, "\r"), "\r"):]
	assert.Empty(t, strings.Trim(last, "\r "), "the bar is gone")
}

// lockedBuilder is a strings.Builder that two goroutines write to.
type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
