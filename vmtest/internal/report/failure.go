package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

// The most that a page has: failures in detail, directories of a test, steps and changes of
// units of a guest, bytes of a journal, and bytes of all that is below the messages.
const (
	failuresMax  = 100
	evidencesMax = 4
	stepsMax     = 200
	changesMax   = 300
	journalMax   = 128 << 10
	detailsMax   = 16 << 20
)

// budget is how many bytes of detailsMax are left.
type budget int

// take takes n bytes if they are left.
func (b *budget) take(n int) bool {
	if n < 0 || n > int(*b) {
		*b = 0 // what comes later is smaller, but of less use
		return false
	}
	*b -= budget(n)
	return true
}

// failure is a test, or a package, that failed or has no end.
type failure struct {
	ID          string
	Package     string
	Test        string // its name without the image, or "" for a package
	Image       string
	State       State
	Took        time.Duration
	Again       string // the command that runs the test
	Brief       string // its message in a line
	Message     []line // what the test printed up to the evidence
	Log         []line // all of it, if that is more
	Differences []difference
	Evidence    []found
}

// found is what there is of a directory of evidence.
type found struct {
	Path     string
	Problem  string // why it, or a file of it, is not shown
	Record   *evidence.Record
	Steps    []evidence.Step   // the last ones
	Before   int               // how many steps come before those
	Timeline *picture          // nil if the page is full
	Changes  []evidence.Moment // of units, the last ones
	Journal  string
	Cut      int64 // bytes of the journal before those
}

// Verdict returns the lines of the verdict below its title.
func (f found) Verdict() []string { return f.Record.Verdict[min(1, len(f.Record.Verdict)):] }

// failures returns what failed, in the order of the run, and how many of those are more than a
// page has. links has the tests of each.
func (r *Run) failures() (all []failure, more int, links map[*Test]string) {
	links = make(map[*Test]string)
	left := budget(detailsMax)
	add := func(f failure) bool {
		if len(all) == failuresMax {
			more++
			return false
		}
		all = append(all, f)
		return true
	}
	for i, p := range r.Broken() {
		f := failure{ID: fmt.Sprintf("package-%d", i+1), Package: p.Name, State: p.State, Took: p.Took}
		f.print(p.Output.String())
		add(f)
	}
	for i, t := range r.Tests {
		if !t.ownFailure() && (t.State != Failed || len(t.Evidence) == 0) {
			continue
		}
		f := failure{
			ID: fmt.Sprintf("test-%d", i+1), Package: t.Package, Test: t.rowName(), Image: t.Image, State: t.State, Took: t.Took,
			Again: t.again(),
		}
		f.print(t.Output.String())
		if !t.ownFailure() {
			f.Brief = "a subtest failed; this is the guest of all of them"
		}
		if !add(f) {
			continue
		}
		links[t] = "#" + f.ID
		last := &all[len(all)-1]
		for _, path := range t.Evidence[:min(len(t.Evidence), evidencesMax)] {
			last.Evidence = append(last.Evidence, r.find(path, &left))
		}
		if last.Message != nil && !left.take(t.Output.size()) {
			last.Log = nil
		}
	}
	return all, more, links
}

// plainName matches what a shell and a regular expression take as it is, but for dots.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_./=,:+-]+$`)

// again returns the command that runs t, or "" if a name in it would need quoting.
func (t *Test) again() string {
	if !plainName.MatchString(t.Package) || !plainName.MatchString(t.Name) || !plainName.MatchString(t.Image+".") {
		return ""
	}
	command := fmt.Sprintf("go test -run '^%s$' %s", strings.ReplaceAll(regexp.QuoteMeta(t.Name), "/", "$/^"), t.Package)
	if t.Image != "" {
		command = "VMTEST_IMAGE=" + t.Image + " " + command
	}
	return command
}

// evidenceLine is the first line that this framework logs about the guest of a failed test.
var evidenceLine = regexp.MustCompile(`(?m)^\s*(?:\S+\.go:\d+: )?evidence from the guest \(`)

// logLine is the beginning of what a test logs.
var logLine = regexp.MustCompile(`^\s*\S+\.go:\d+:\s*`)

// print sets what the test printed.
func (f *failure) print(output string) {
	output = strings.Trim(output, "\n")
	if output == "" {
		return
	}
	message := output
	if at := evidenceLine.FindStringIndex(output); at != nil {
		message = strings.TrimRight(output[:at[0]], " \t\n")
		f.Log, _ = compare(output)
	}
	if message == "" { // its message is in the evidence, or comes after that
		f.Brief = "see the guest's evidence"
		return
	}
	f.Message, f.Differences = compare(message)
	f.Brief = brief(message)
}

// errorLine is the first line of a message of testify/assert.
var errorLine = regexp.MustCompile(`(?m)^\s*Error:\s+(\S.*)`)

// panicLine is what Go prints first of a panic, such as that of a test's timeout.
var panicLine = regexp.MustCompile(`(?m)^panic: .*`)

// brief returns what a message says in a line.
func brief(message string) string {
	if text := panicLine.FindString(message); text != "" {
		return tail.Head(text, 200)
	}
	if m := errorLine.FindStringSubmatch(message); m != nil {
		text := strings.TrimRight(m[1], " :")
		if d, ok := firstDifference(message); ok {
			text += ": expected " + oneLine(d.Want) + ", actual " + oneLine(d.Got)
		}
		return tail.Head(text, 200)
	}
	all := ""
	for text := range strings.Lines(message) {
		text = strings.TrimPrefix(strings.TrimSpace(logLine.ReplaceAllString(text, "")), "| ")
		if text == "" {
			continue
		}
		if all += text; !strings.HasSuffix(text, ":") {
			break
		}
		all += " " // the next line says what
	}
	return tail.Head(strings.TrimSpace(all), 200)
}

func firstDifference(message string) (difference, bool) {
	_, all := compare(message)
	if len(all) == 0 {
		return difference{}, false
	}
	return all[0], true
}

func oneLine(text string) string {
	first, _, more := strings.Cut(text, "\n")
	if first = tail.Head(first, 60); more {
		first += "…"
	}
	return first
}

// find reads a directory of evidence. It takes what the page gets of it from left.
func (r *Run) find(path string, left *budget) found {
	dir := path
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && r.Moved != "" {
		dir = filepath.Join(r.Moved, filepath.Base(path))
	}
	e := found{Path: tail.Printable(dir)}
	record, err := evidence.Read(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(dir); err != nil {
			e.Problem = "The directory does not exist on this host."
		} else {
			e.Problem = "The directory has no " + evidence.RecordFile + "."
		}
		return e
	case err != nil:
		e.Problem = tail.Printable(err.Error())
		return e
	}
	e.Record = record
	if p := draw(record); left.take(p.size()) {
		e.Timeline = p
	}
	for _, m := range slices.Backward(record.Moments) {
		if m.Of == "unit" && len(e.Changes) < changesMax && left.take(len(m.Text)+50) {
			e.Changes = append(e.Changes, m)
		}
	}
	slices.Reverse(e.Changes)
	e.Before = len(record.Steps)
	for e.Before > max(0, len(record.Steps)-stepsMax) {
		s := record.Steps[e.Before-1]
		if !left.take(len(s.Text) + len(s.Result) + len(s.Output) + 200) {
			break
		}
		e.Before--
	}
	e.Steps = record.Steps[e.Before:]
	e.readJournal(dir, left)
	return e
}

// readJournal reads the end of the journal.
func (e *found) readJournal(dir string, left *budget) {
	const journal = "journal.txt"
	i := slices.IndexFunc(e.Record.Files, func(f evidence.File) bool { return f.Name == journal })
	if i < 0 {
		return
	}
	most := min(e.Record.Files[i].Bytes, journalMax)
	if !left.take(int(most)) {
		most = 0
	}
	data, cut, err := e.Record.ReadFile(dir, journal, most)
	if err != nil {
		e.Problem = tail.Printable(err.Error())
		return
	}
	text := string(data)
	if cut > 0 { // the first line is not whole
		first, rest, found := strings.Cut(text, "\n")
		text, cut = rest, cut+int64(len(first))
		if found {
			cut++
		}
	}
	e.Journal, e.Cut = strings.TrimRight(tail.Printable(text), "\n"), cut
}
