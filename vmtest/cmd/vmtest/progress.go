package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/tail"
)

const (
	// quietFor is how long a wait may last before it is mentioned where there is no
	// terminal.
	quietFor = 2 * time.Second

	frameTime = 200 * time.Millisecond
)

// progress shows one wait. On a terminal it is a bar, or a spinner with the elapsed time,
// and disappears with the wait; notices stay. Elsewhere it is a line for each notice and
// stage.
type progress struct {
	w        io.Writer
	terminal bool
	quit     chan struct{}
	done     chan struct{} // closed once the goroutine has ended

	mu    sync.Mutex
	doing string                   // what is being waited for
	said  bool                     // a line has been printed; not on a terminal
	bar   *progressbar.ProgressBar // on a terminal only
	shown images.Progress          // the last one

	stages map[stageOf]bool // that have been printed; not on a terminal
}

// stageOf is a stage of one image: the image below another is built while that is.
type stageOf struct {
	image string
	stage images.Stage
}

// beginProgress shows a wait until stop is called.
func beginProgress(w io.Writer, doing string) *progress {
	p := &progress{w: w, terminal: isTerminal(w), quit: make(chan struct{}), done: make(chan struct{}), doing: doing, stages: make(map[stageOf]bool)}
	if p.terminal {
		p.bar = p.newBar(-1, doing)
		go p.animate()
	} else {
		go p.mention()
	}
	return p
}

// stop ends the wait and clears the bar.
func (p *progress) stop() {
	close(p.quit)
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.bar.Clear() // an error means that the terminal is gone
	}
}

// report shows an event of packages images and vmtest.
func (p *progress) report(e images.Progress) {
	e.Text = tail.Printable(e.Text)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case e.Notice && p.terminal:
		p.bar.Clear()
		p.println(e)
		p.bar.RenderBlank()
	case e.Notice:
		p.println(e)
	case !announced(e.Stage):
	case p.terminal:
		p.draw(e)
	case !p.stages[stageOf{e.Image, e.Stage}]: // packages come in two rounds of the same stages
		p.stages[stageOf{e.Image, e.Stage}] = true
		p.println(images.Progress{Image: e.Image, Text: string(e.Stage)})
	}
	if announced(e.Stage) {
		p.shown = e
	}
}

// announced reports whether a stage is part of a build, and not of every start.
func announced(s images.Stage) bool {
	return s != "" && s != images.Checking && s != images.Waiting
}

func (p *progress) println(e images.Progress) {
	about := ""
	if e.Image != "" {
		about = e.Image + ": "
	}
	fmt.Fprintf(p.w, "vmtest: %s%s\n", about, e.Text)
	p.said = true
}

// draw updates the bar.
func (p *progress) draw(e images.Progress) {
	if e.Image != p.shown.Image || e.Stage != p.shown.Stage || e.Total != p.shown.Total {
		limit := e.Total
		if limit == 0 {
			limit = -1
		}
		doing := e.Image + ": " + string(e.Stage)
		if e.Stage == images.Finished {
			doing = p.doing // the image was only a part of it
		}
		p.bar.Clear()
		p.bar = p.newBar(limit, doing)
	}
	if e.Total > 0 {
		p.bar.Set(min(e.Done, e.Total))
	}
}

// newBar returns a bar, or a spinner if limit is -1. It moves only when it is rendered,
// because the library's own clock cannot be stopped.
func (p *progress) newBar(limit int, doing string) *progressbar.ProgressBar {
	options := []progressbar.Option{
		progressbar.OptionSetWriter(p.w),
		progressbar.OptionSetDescription(doing),
		progressbar.OptionSetWidth(20),
		progressbar.OptionSetTheme(progressbar.ThemeASCII),
		progressbar.OptionSpinnerType(9), // - \ | /
		progressbar.OptionSetSpinnerChangeInterval(0),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionSetPredictTime(false),
	}
	if limit > 0 {
		options = append(options, progressbar.OptionShowCount())
	}
	bar := progressbar.NewOptions(limit, options...)
	bar.RenderBlank()
	return bar
}

func (p *progress) animate() {
	defer close(p.done)
	frames := time.NewTicker(frameTime)
	defer frames.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-frames.C:
			p.mu.Lock()
			p.bar.RenderBlank()
			p.mu.Unlock()
		}
	}
}

// mention prints once what is being waited for, unless a notice has been printed.
func (p *progress) mention() {
	defer close(p.done)
	timer := time.NewTimer(quietFor)
	defer timer.Stop()
	select {
	case <-p.quit:
		return
	case <-timer.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.said {
		fmt.Fprintf(p.w, "vmtest: %s\n", p.doing)
	}
}
