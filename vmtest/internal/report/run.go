// Package report turns the output of go test -json, and the evidence of tests that failed, into
// a page of HTML and into JUnit XML.
package report

import (
	"cmp"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

// State is how a test or a package ended.
type State int

// The states, the gravest last.
const (
	Skipped State = iota
	Passed
	Unfinished // it began, and its end is not known
	Failed
)

// String returns the state in a word.
func (s State) String() string {
	return [...]string{"skipped", "passed", "no result", "failed"}[s]
}

// Verb returns the state as go test -v prints it.
func (s State) Verb() string { return [...]string{"SKIP", "PASS", "NO RESULT", "FAIL"}[s] }

// Glyph returns a sign for the state. No two have the same shape.
func (s State) Glyph() string { return [...]string{"○", "✓", "?", "✗"}[s] }

// Class returns the state's class in the page.
func (s State) Class() string { return [...]string{"skip", "pass", "none", "fail"}[s] }

// Run is what go test did, once or several times.
type Run struct {
	Tests    []*Test    // in the order in which they began
	Packages []*Package // likewise
	Began    time.Time  // zero if no event has a time
	Ended    time.Time
	Stray    []string // the first lines that are no events
	Strays   int      // how many lines there were of those

	// TestEnded and PackageEnded, if they are set, are called by Read when it reads that a
	// test or a package has ended. A test without a result ends before its package.
	TestEnded    func(*Test)
	PackageEnded func(*Package)

	// Moved is a directory that holds directories of evidence which are no longer where
	// the tests left them, or "".
	Moved string

	inputs int
}

// Package is what go test did with a package.
type Package struct {
	Name   string
	State  State
	Took   time.Duration
	Output clipped // that belongs to no test
}

// Test is a test or a subtest.
type Test struct {
	Package, Name string
	State         State
	Began         time.Time
	Took          time.Duration
	Machines      []evidence.Machine
	Evidence      []string // paths of directories
	Output        clipped  // of a test that did not pass
	Image         string   // that it ran on, or "" for none

	of       *Package
	asked    string // the image that it was to have
	parent   *Test
	children []*Test
}

// ownFailure reports whether a test failed, or has no end, by more than a subtest of it.
func (t *Test) ownFailure() bool {
	if t.State < Unfinished {
		return false
	}
	for _, c := range t.children {
		if c.State >= Unfinished {
			return false
		}
	}
	return true
}

// counts reports whether a test is one of those that are counted: it has no subtests, or fails
// by itself.
func (t *Test) counts() bool { return len(t.children) == 0 || t.ownFailure() }

// Count returns how many tests ended in a state. A test with subtests counts only if it
// failed and none of them did.
func (r *Run) Count(s State) int {
	n := 0
	for _, t := range r.Tests {
		if t.State == s && t.counts() {
			n++
		}
	}
	return n
}

// Broken returns the packages that failed or have no end, although no test of theirs did,
// such as those that do not compile.
func (r *Run) Broken() []*Package {
	shown := make(map[*Package]bool)
	for _, t := range r.Tests {
		shown[t.of] = shown[t.of] || t.State >= Unfinished
	}
	var broken []*Package
	for _, p := range r.Packages {
		if p.State >= Unfinished && !shown[p] {
			broken = append(broken, p)
		}
	}
	return broken
}

// Failed reports whether anything failed or has no end.
func (r *Run) Failed() bool {
	return r.Count(Failed)+r.Count(Unfinished)+len(r.Broken()) > 0
}

// images sets the image of each test: that of its guest, or the one that it or a test around
// it was to have, or the only one that its subtests have.
func (r *Run) images() {
	for _, t := range r.Tests {
		for p := t; p != nil && t.Image == ""; p = p.parent {
			if len(p.Machines) > 0 {
				t.Image = p.Machines[0].Image
			}
			t.Image = cmp.Or(t.Image, p.asked)
		}
	}
	for i := len(r.Tests) - 1; i >= 0; i-- { // subtests come after their tests
		if t := r.Tests[i]; t.Image == "" && len(t.children) > 0 {
			t.Image = t.children[0].Image
			for _, c := range t.children {
				if c.Image != t.Image {
					t.Image = ""
					break
				}
			}
		}
	}
}
