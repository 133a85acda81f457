package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// fault is a wrong change, and the test that must catch it.
type fault struct {
	Name    string // directory and file, without the extension
	What    string // one line
	Package string // pattern of the go command, such as ./echo
	Test    string // for go test -run
	Message *regexp.Regexp
	Changes []change
}

// change replaces lines of a file. The old lines must occur once.
type change struct {
	File     string
	Old, New []string
}

// errStale means that the lines which a change replaces are not what the file has.
var errStale = errors.New("the fault is stale")

// load returns the faults in the files of dir, sorted by name.
func load(dir string) ([]fault, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.fault"))
	if err != nil {
		return nil, err
	}
	var faults []fault
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		f, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", file, err)
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return nil, err
		}
		f.Name = strings.TrimSuffix(filepath.ToSlash(name), ".fault")
		faults = append(faults, f)
	}
	if len(faults) == 0 {
		return nil, fmt.Errorf("no faults in %s", dir)
	}
	return faults, nil
}

// parse reads the text of a fault. See the package comment for its form.
func parse(text string) (f fault, err error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	next := func(prefix string) (rest string) {
		if err != nil {
			return ""
		}
		var found bool
		if len(lines) > 0 {
			rest, found = strings.CutPrefix(lines[0], prefix)
			lines = lines[1:]
		}
		if rest = strings.TrimSpace(rest); !found || rest == "" {
			err = fmt.Errorf("want a line %q", prefix+"...")
		}
		return rest
	}
	f.What = next("")
	test := next("test: ")
	message := next("message: ")
	if err != nil {
		return f, err
	}
	var split bool
	if f.Package, f.Test, split = strings.Cut(test, " "); !split {
		return f, fmt.Errorf("test: %s: want a package and a regular expression for go test -run", test)
	}
	if f.Message, err = regexp.Compile(message); err != nil {
		return f, fmt.Errorf("message: %w", err)
	}
	f.Changes, err = parseChanges(lines)
	return f, err
}

// parseChanges reads the changes of a fault: "--- FILE", and below it blocks of lines that
// begin with a space, "-" or "+". An empty line ends a block.
func parseChanges(lines []string) (changes []change, err error) {
	file, block := "", false
	for _, line := range append(lines, "") {
		if name, ok := strings.CutPrefix(line, "--- "); ok {
			file, block = name, false
			if !filepath.IsLocal(file) {
				return nil, fmt.Errorf("%s is not a file of the module", file)
			}
			continue
		}
		if line == "" {
			block = false
			continue
		}
		if file == "" {
			return nil, fmt.Errorf(`want "--- FILE" before %q`, line)
		}
		if !block {
			changes = append(changes, change{File: file})
			block = true
		}
		c := &changes[len(changes)-1]
		switch line[0] {
		case ' ':
			c.Old, c.New = append(c.Old, line[1:]), append(c.New, line[1:])
		case '-':
			c.Old = append(c.Old, line[1:])
		case '+':
			c.New = append(c.New, line[1:])
		default:
			return nil, fmt.Errorf(`want " ", "-" or "+" before %q`, line)
		}
	}
	for _, c := range changes {
		if len(c.Old) == 0 || strings.Join(c.Old, "\n") == strings.Join(c.New, "\n") {
			return nil, fmt.Errorf("a block for %s replaces no line", c.File)
		}
	}
	if len(changes) == 0 {
		return nil, errors.New("there is no change")
	}
	return changes, nil
}

// apply returns the files of tree that the fault changes, as they are with it. The error
// wraps errStale if a change does not fit.
func (f fault) apply(tree fs.FS) (map[string]string, error) {
	files := map[string]string{}
	for _, c := range f.Changes {
		text, ok := files[c.File]
		if !ok {
			data, err := fs.ReadFile(tree, c.File)
			if err != nil {
				return nil, fmt.Errorf("%s: %w: %w", f.Name, errStale, err)
			}
			text = string(data)
		}
		lines := strings.Split(text, "\n")
		at, times := 0, 0
		for i := range lines {
			if end := i + len(c.Old); end <= len(lines) && slices.Equal(lines[i:end], c.Old) {
				at = i
				times++
			}
		}
		if times != 1 {
			return nil, fmt.Errorf("%s: %w: %s has these lines %d times, not once:\n%s",
				f.Name, errStale, c.File, times, strings.Join(c.Old, "\n"))
		}
		files[c.File] = strings.Join(slices.Replace(lines, at, at+len(c.Old), c.New...), "\n")
	}
	return files, nil
}
