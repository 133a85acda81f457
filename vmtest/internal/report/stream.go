package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

// event is a line of go test -json (go doc test2json).
type event struct {
	Time        time.Time
	Action      string
	Package     string
	ImportPath  string // of a build
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
	Key, Value  string // of "attr"
}

// The most that Read takes of a line, in bytes, of tests, of lines that are no events, and of
// machines or directories of a test.
const (
	lineMax   = 1 << 20
	testsMax  = 100_000
	straysMax = 20
	attrsMax  = 20
)

// input is one output of go test -json.
type input struct {
	run      *Run
	packages map[string]*Package
	tests    map[[2]string]*Test // the last of each package and name
	builds   map[string]*clipped // output by import path
	events   int
}

// Read adds the output of go test -json, which may be cut. An input without any event is an
// error that begins with name.
func (r *Run) Read(name string, in io.Reader) error {
	i := &input{run: r, packages: make(map[string]*Package), tests: make(map[[2]string]*Test), builds: make(map[string]*clipped)}
	lines := bufio.NewReaderSize(in, 64<<10)
	for {
		line, err := readLine(lines)
		if len(line) > 0 {
			if err := i.line(line); err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
	if i.events == 0 {
		return fmt.Errorf("read %s: no line is an event of go test -json", name)
	}
	r.inputs++
	r.images()
	return nil
}

// readLine returns the next line up to lineMax bytes, without its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, more, err := r.ReadLine()
		if fits := lineMax - len(line); len(part) > fits {
			part = part[:fits]
		}
		line = append(line, part...)
		if err != nil || !more {
			return line, err
		}
	}
}

func (i *input) line(line []byte) error {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		i.run.Strays++
		if len(i.run.Stray) < straysMax {
			i.run.Stray = append(i.run.Stray, tail.Head(string(line), 500))
		}
		return nil
	}
	i.events++
	if !e.Time.IsZero() {
		if i.run.Began.IsZero() || e.Time.Before(i.run.Began) {
			i.run.Began = e.Time
		}
		if e.Time.After(i.run.Ended) {
			i.run.Ended = e.Time
		}
	}
	switch {
	case e.ImportPath != "":
		if i.builds[e.ImportPath] == nil {
			i.builds[e.ImportPath] = new(clipped)
		}
		i.builds[e.ImportPath].add(e.Output)
	case e.Test == "":
		i.ofPackage(e)
	default:
		return i.ofTest(e)
	}
	return nil
}

// pkg returns the package of that name.
func (i *input) pkg(name string) *Package {
	p := i.packages[name]
	if p == nil {
		p = &Package{Name: tail.Printable(name), State: Unfinished}
		i.packages[name] = p
		i.run.Packages = append(i.run.Packages, p)
	}
	return p
}

func (i *input) ofPackage(e event) {
	if e.Action == "start" { // once more, if the input has several runs
		delete(i.packages, e.Package)
	}
	p := i.pkg(e.Package)
	switch e.Action {
	case "output":
		p.Output.add(e.Output)
	case "pass", "fail", "skip":
		p.State, p.Took = stateOf(e.Action), seconds(e.Elapsed)
		if b := i.builds[e.FailedBuild]; b != nil && e.FailedBuild != "" {
			p.Output.add(b.String())
		}
		for _, t := range i.run.Tests {
			if t.of == p && t.State == Unfinished {
				i.run.ended(t)
			}
		}
		if i.run.PackageEnded != nil {
			i.run.PackageEnded(p)
		}
		if p.State != Failed {
			p.Output.reset()
		}
	}
}

func (r *Run) ended(t *Test) {
	if r.TestEnded != nil {
		r.TestEnded(t)
	}
}

func (i *input) ofTest(e event) error {
	id := [2]string{e.Package, e.Test}
	t := i.tests[id]
	if t == nil || e.Action == "run" {
		if len(i.run.Tests) == testsMax {
			return fmt.Errorf("more than %d tests", testsMax)
		}
		t = &Test{of: i.pkg(e.Package), Package: tail.Printable(e.Package), Name: tail.Printable(e.Test), State: Unfinished, Began: e.Time}
		for up := e.Test; t.parent == nil && strings.Contains(up, "/"); {
			up = up[:strings.LastIndexByte(up, '/')]
			t.parent = i.tests[[2]string{e.Package, up}]
		}
		if t.parent != nil {
			t.parent.children = append(t.parent.children, t)
		}
		i.tests[id] = t
		i.run.Tests = append(i.run.Tests, t)
	}
	switch e.Action {
	case "output":
		if !isFrame(e.Output) {
			t.Output.add(e.Output)
		}
	case "attr":
		t.attr(e.Key, e.Value)
	case "pass", "fail", "skip", "bench":
		t.State, t.Took = stateOf(e.Action), seconds(e.Elapsed)
		i.run.ended(t)
		if t.State == Passed {
			t.Output.reset()
		}
	}
	return nil
}

// attr notes what a test says about its guest. What is not as this program writes it is
// ignored: any test may use any key.
func (t *Test) attr(key, value string) {
	switch key {
	case evidence.AttrImage:
		t.asked = tail.Head(value, 200)
	case evidence.AttrEvidence:
		if len(t.Evidence) < attrsMax {
			t.Evidence = append(t.Evidence, value)
		}
	case evidence.AttrMachine:
		var m evidence.Machine
		if json.Unmarshal([]byte(value), &m) == nil && m.Image != "" && len(t.Machines) < attrsMax {
			for _, text := range []*string{&m.Image, &m.Title, &m.Systemd, &m.Kernel, &m.Accel} {
				*text = tail.Head(*text, 200)
			}
			t.Machines = append(t.Machines, m)
		}
	}
}

func stateOf(action string) State {
	switch action {
	case "fail":
		return Failed
	case "skip":
		return Skipped
	}
	return Passed
}

// isFrame reports whether a line of output is about the run of a test, which has an event.
func isFrame(line string) bool {
	for _, prefix := range []string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME ", "=== ATTR ", "=== ARTIFACTS "} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	trimmed := strings.TrimLeft(line, " ")
	return strings.HasPrefix(trimmed, "--- PASS: ") || strings.HasPrefix(trimmed, "--- FAIL: ") || strings.HasPrefix(trimmed, "--- SKIP: ")
}

func seconds(s float64) time.Duration {
	if !(s >= 0 && s < 1e9) {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}
