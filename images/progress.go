package images

import (
	"cmp"
	"sync"
)

// Stage is what [Open] or [Build] is doing.
type Stage string

// The stages of a build, in their order. Waiting and Checking come before it. An import has
// Reading, Packing and Finished.
const (
	Waiting     Stage = "waiting"     // another process holds the image
	Checking    Stage = "checking"    // files are compared with the manifest
	Reading     Stage = "reading"     // the source of an import is read
	Resolving   Stage = "resolving"   // package lists are fetched, dependencies resolved
	Downloading Stage = "downloading" // packages are fetched
	Installing  Stage = "installing"  // packages are unpacked and configured
	Packing     Stage = "packing"     // the root file system is written
	Finished    Stage = "finished"    // the image is in the cache
)

// Progress is one step of the work on an image.
type Progress struct {
	Image string // its name, and what is added to it
	Stage Stage
	// Done and Total count packages. Total is 0 if it is not known. Packages come
	// in two rounds, so both counts can start again within a stage.
	Done, Total int
	// Text is one line for a person, possibly empty.
	Text string
	// Notice marks a text that a person should see even if progress is not shown:
	// why an image is built again, or what this process waits for.
	Notice bool
}

// reporter passes progress of several goroutines to the caller, one call at a time.
type reporter struct {
	mu    sync.Mutex
	image string
	fn    func(Progress)
}

// name returns what errors call the image that the cache has under the given name.
func (r *reporter) name(cached string) string { return cmp.Or(r.image, cached) }

func (r *reporter) report(p Progress) {
	if r.fn == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p.Image = r.image
	r.fn(p)
}

func (r *reporter) notice(s Stage, text string) {
	r.report(Progress{Stage: s, Text: text, Notice: true})
}
