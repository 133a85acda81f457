package report

import (
	"regexp"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
)

// line is a line of output, and what it is in a comparison.
type line struct {
	Text string
	Kind string // "del" is expected, "ins" was seen, "hunk" heads lines; else ""
}

// difference is what a test expected, and what it saw.
type difference struct{ Want, Got string }

// The parts of a message of testify/assert, behind the indentation of its lines.
var (
	expectedLine = regexp.MustCompile(`^(\s*(?:Error:\s+)?)expected\s*: (.*)`)
	actualLine   = regexp.MustCompile(`^(\s*)actual\s*: (.*)`)
	diffLine     = regexp.MustCompile(`^(\s*)Diff:\s*$`)
	// waitLine is a wait of this framework that failed (vmtest.UnitError).
	waitLine = regexp.MustCompile(`wait for (?:\S+ of )?\S+ to be ([^:]+): .*?; it is ([^;|]+)`)
)

// The most lines of a value, and the most comparisons, that are shown on top.
const (
	valueMax       = 20
	differencesMax = 10
)

// compare marks the lines of the output of a test, and returns the comparisons in it.
func compare(output string) (lines []line, all []difference) {
	texts := strings.Split(strings.TrimRight(output, "\n"), "\n")
	diff := "\x00" // the indentation of lines of a diff
	for i, text := range texts {
		l := line{Text: text}
		if rest, in := strings.CutPrefix(text, diff); in {
			l.Kind = kindOf(rest)
		} else {
			diff = "\x00"
		}
		if m := diffLine.FindStringSubmatch(text); m != nil {
			diff = m[1]
		}
		if m := expectedLine.FindStringSubmatch(text); m != nil {
			if d, ok := valuesAt(texts[i:]); ok {
				all = append(all, d)
			}
		} else if m := waitLine.FindStringSubmatch(text); m != nil {
			all = append(all, difference{m[1], strings.TrimSpace(m[2])})
		}
		lines = append(lines, l)
	}
	return lines, all[:min(len(all), differencesMax)]
}

// kindOf returns the kind of a line of a unified diff.
func kindOf(text string) string {
	switch {
	case strings.HasPrefix(text, "--- ") || strings.HasPrefix(text, "+++ ") || strings.HasPrefix(text, "@@ "):
		return "hunk"
	case strings.HasPrefix(text, "-"):
		return "del"
	case strings.HasPrefix(text, "+"):
		return "ins"
	}
	return ""
}

// valuesAt returns the values of a message. Its first line has what was expected.
func valuesAt(texts []string) (d difference, ok bool) {
	var want, got []string
	indent := ""
	for i, text := range texts[:min(len(texts), 2*valueMax)] {
		if m := expectedLine.FindStringSubmatch(text); m != nil && i == 0 {
			want = append(want, m[2])
			continue
		}
		if m := actualLine.FindStringSubmatch(text); m != nil && got == nil {
			indent, got = m[1], []string{m[2]}
			continue
		}
		rest, in := strings.CutPrefix(text, indent)
		switch {
		case got == nil:
			want = append(want, strings.TrimLeft(text, " \t"))
		case !in || strings.TrimSpace(rest) == "":
			return difference{value(want), value(got)}, true
		default:
			got = append(got, rest)
		}
	}
	return difference{value(want), value(got)}, got != nil
}

func value(lines []string) string {
	text := strings.Join(lines[:min(len(lines), valueMax)], "\n")
	if len(lines) > valueMax {
		text += "\n…"
	}
	return tail.Head(text, 4000)
}
