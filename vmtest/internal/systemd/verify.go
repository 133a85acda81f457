package systemd

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
)

// Verifier runs systemd-analyze verify.
type Verifier struct {
	// Exec runs a command and returns what it wrote to both streams. err is for a command
	// that did not exit by itself.
	Exec func(ctx context.Context, args []string) (output string, exitCode int, err error)
	// UnitFile returns the path of the file of a unit as PID 1 found it, or "".
	UnitFile func(ctx context.Context, unit string) (string, error)
}

// Findings returns what systemd-analyze verify reports about units, each a name or an
// absolute path, and with all set what it reports about others too.
func (v Verifier) Findings(ctx context.Context, units []string, all bool) ([]Finding, error) {
	if len(units) == 0 {
		return nil, errors.New("no units")
	}
	for _, unit := range units {
		if err := CheckUnitOrPath(unit); err != nil {
			return nil, err
		}
	}
	output, code, err := v.Exec(ctx, append([]string{"systemd-analyze", "verify", "--man=no", "--"}, units...))
	if err != nil {
		return nil, err
	}
	findings := ParseFindings(output)
	if code != 0 && len(findings) == 0 {
		return nil, fmt.Errorf("systemd-analyze exited with %d and reported nothing", code)
	}
	if all {
		return findings, nil
	}
	return v.about(ctx, findings, units)
}

// about returns the findings that are about the units, by whichever of their names.
func (v Verifier) about(ctx context.Context, findings []Finding, units []string) ([]Finding, error) {
	names := make([]string, len(units))
	for i, unit := range units {
		names[i] = path.Base(unit)
	}
	other := func(f Finding) bool { return !f.About(names) }
	if !slices.ContainsFunc(findings, other) {
		return findings, nil
	}
	aliases, err := v.aliases(ctx, units)
	if err != nil {
		return nil, err
	}
	names = append(names, aliases...)
	return slices.DeleteFunc(findings, other), nil
}

// aliases returns the names under which systemd-analyze reports units whose files are
// symbolic links.
func (v Verifier) aliases(ctx context.Context, units []string) ([]string, error) {
	args := []string{"readlink", "-f", "--"}
	for _, unit := range units {
		file := unit
		if !path.IsAbs(unit) {
			// PID 1 loads no templates, but instances of them.
			var err error
			if file, err = v.UnitFile(ctx, strings.Replace(unit, "@.", "@vmtest.", 1)); err != nil {
				return nil, err
			}
		}
		if file != "" {
			args = append(args, file)
		}
	}
	if len(args) == 3 {
		return nil, nil
	}
	// It exits with 1 if one of the files does not exist, and prints the others.
	output, _, err := v.Exec(ctx, args)
	if err != nil {
		return nil, err
	}
	var names []string
	for file := range strings.Lines(output) {
		names = append(names, path.Base(strings.TrimSuffix(file, "\n")))
	}
	return names, nil
}

// Finding is what systemd-analyze verify reported in one line. vmtest.Finding documents
// the fields.
type Finding struct {
	Unit string
	File string
	Line int
	Text string
}

// String returns the finding as systemd-analyze prints it.
func (f Finding) String() string {
	switch {
	case f.File != "" && f.Line > 0:
		return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
	case f.File != "":
		return f.File + ": " + f.Text
	case f.Unit != "":
		return f.Unit + ": " + f.Text
	}
	return f.Text
}

// placed matches a finding with the file that it is about, or the unit.
var placed = regexp.MustCompile(`^(/[^:]*|[^\s/]+\.[a-z]+):(?:([0-9]+):)? (.*)$`)

// ParseFindings reads what systemd-analyze verify printed, a finding a line.
func ParseFindings(output string) []Finding {
	var findings []Finding
	for line := range strings.SplitSeq(tail.Printable(output), "\n") {
		line = strings.TrimRight(line, " \t")
		if strings.TrimSpace(line) == "" {
			continue
		}
		findings = append(findings, parseFinding(line))
	}
	return findings
}

func parseFinding(line string) Finding {
	parts := placed.FindStringSubmatch(line)
	if parts == nil {
		return Finding{Text: line}
	}
	place, text := parts[1], parts[3]
	n := 0
	if parts[2] != "" {
		var err error
		if n, err = strconv.Atoi(parts[2]); err != nil || strconv.Itoa(n) != parts[2] || n == 0 {
			return Finding{Text: line}
		}
	}
	if strings.HasPrefix(place, "/") {
		return Finding{Unit: unitOfFile(place), File: place, Line: n, Text: text}
	}
	if n > 0 || CheckUnitName(place) != nil {
		return Finding{Text: line}
	}
	return Finding{Unit: place, Text: text}
}

// unitOfFile returns the name of the unit that a file configures, or "" if that is no
// single unit.
func unitOfFile(file string) string {
	name := path.Base(file)
	if dir, ok := strings.CutSuffix(path.Base(path.Dir(file)), ".d"); ok {
		name = dir // a drop-in
	}
	if CheckUnitName(name) != nil || strings.HasSuffix(strings.TrimSuffix(name, path.Ext(name)), "-") {
		return "" // a drop-in for all units of a type, or with a prefix, or no unit's file
	}
	return name
}

// About reports whether the finding is about one of the units, or not about a unit that
// it names.
func (f Finding) About(units []string) bool {
	return f.Unit == "" || slices.ContainsFunc(units, func(u string) bool {
		// systemd-analyze makes up an instance of a template, by a name that differs
		// between versions.
		return u == f.Unit || IsTemplate(u) && TemplateOf(f.Unit) == u || TemplateOf(u) == f.Unit
	})
}

// IsTemplate reports whether a unit's name is that of a template.
func IsTemplate(unit string) bool { return TemplateOf(unit) == unit }

// TemplateOf returns the template of an instance or of a template, and "" for another
// unit.
func TemplateOf(unit string) string {
	name, instance, ok := strings.Cut(unit, "@")
	if !ok {
		return ""
	}
	return name + "@" + path.Ext(instance)
}

// Acceptance is a list of patterns of findings that are no fault, and which of them have
// matched one.
type Acceptance struct {
	patterns []*regexp.Regexp
	used     []bool
}

// NewAcceptance compiles patterns, regular expressions.
func NewAcceptance(patterns []string) (*Acceptance, error) {
	a := &Acceptance{used: make([]bool, len(patterns))}
	for _, p := range patterns {
		re, err := regexp.Compile(p)
		if err != nil {
			return nil, fmt.Errorf("accept %q: %w", p, err)
		}
		a.patterns = append(a.patterns, re)
	}
	return a, nil
}

// Rest returns the findings that no pattern matches.
func (a *Acceptance) Rest(findings []Finding) []Finding {
	var rest []Finding
	for _, f := range findings {
		accepted := false
		for i, p := range a.patterns {
			if p.MatchString(f.String()) {
				a.used[i], accepted = true, true
			}
		}
		if !accepted {
			rest = append(rest, f)
		}
	}
	return rest
}

// Unused returns an error that names the patterns that have matched no finding, if any.
func (a *Acceptance) Unused() error {
	var unused []string
	for i, p := range a.patterns {
		if !a.used[i] {
			unused = append(unused, strconv.Quote(p.String()))
		}
	}
	if len(unused) == 0 {
		return nil
	}
	return fmt.Errorf("accept %s: matches no finding", strings.Join(unused, ", "))
}
