package systemd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Run runs a command in the guest and writes its standard output to stdout.
type Run func(ctx context.Context, args []string, stdout io.Writer) error

// Shower shows properties of units as systemctl show prints them.
type Shower struct {
	Run Run
	// Properties returns the properties of a unit as D-Bus has them.
	Properties func(ctx context.Context, unit string) (map[string]any, error)
}

// Show returns the named properties of a unit, or all. A property that is printed in
// several lines, such as Listen of a socket with several addresses, has them joined by
// line feeds. An empty list may be absent.
//
// A value whose text is plain comes from D-Bus, because systemctl is a program that has to
// start in the guest. It does not quote either: a value may have a line that looks like
// another property. So what it printed is checked against what D-Bus has, and in case of
// doubt each property is asked for by itself.
func (s Shower) Show(ctx context.Context, unit string, names ...string) (map[string]string, error) {
	values, err := s.show(ctx, unit, names)
	if err != nil {
		return nil, fmt.Errorf("show %s: %w", unit, err)
	}
	return values, nil
}

func (s Shower) show(ctx context.Context, unit string, names []string) (map[string]string, error) {
	if err := CheckUnitName(unit); err != nil {
		return nil, err
	}
	for _, name := range names {
		if !propertyName.MatchString(name) {
			return nil, fmt.Errorf("%q is not the name of a property", name)
		}
	}
	known, err := s.Properties(ctx, unit)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = slices.Collect(maps.Keys(known))
	}
	values := make(map[string]string)
	var rest []string
	for _, name := range names {
		value, ok := known[name]
		if !ok {
			return nil, &PropertyError{Unit: unit, Property: name}
		}
		if text, ok := printed(name, value); ok {
			values[name] = text
		} else {
			rest = append(rest, name)
		}
	}
	if rest == nil {
		return values, nil
	}
	out, err := s.systemctl(ctx, unit, rest)
	if err != nil {
		return nil, err
	}
	lines := parseShow(out, rest)
	maps.Copy(values, shownValues(lines))
	for _, name := range doubtful(lines, known) {
		value, ok, err := s.showOne(ctx, unit, name, known[name])
		if err != nil {
			return nil, err
		}
		delete(values, name)
		if ok {
			values[name] = value
		}
	}
	return values, nil
}

func (s Shower) systemctl(ctx context.Context, unit string, names []string) (string, error) {
	var out bytes.Buffer
	err := s.Run(ctx, []string{"systemctl", "show", "--property=" + strings.Join(names, ","), "--", unit}, &out) // there is a -.mount
	return strings.TrimSuffix(out.String(), "\n"), err
}

// showOne returns a property that nothing else is printed with. value is what D-Bus has.
func (s Shower) showOne(ctx context.Context, unit, name string, value any) (text string, ok bool, err error) {
	out, err := s.systemctl(ctx, unit, []string{name})
	if err != nil {
		return "", false, err
	}
	text, ok = strings.CutPrefix(out, name+"=")
	if !ok {
		if out != "" {
			return "", false, fmt.Errorf("systemctl printed %.100q for the property %s", out, name)
		}
		return "", false, nil
	}
	parts := strings.Split(text, "\n"+name+"=")
	switch {
	case len(parts) == 1 || !severalLines(value):
		return text, true, nil
	case len(parts) == reflect.ValueOf(value).Len():
		return strings.Join(parts, "\n"), true, nil
	}
	return "", false, fmt.Errorf("the value of %s has a line that looks like the next of its list", name)
}

// propertyName matches the names of systemd's properties (org.freedesktop.systemd1(5)).
var propertyName = regexp.MustCompile("^[A-Z][A-Za-z0-9]*$")

// shownLine is a line that begins like a property, and the lines below it that do not.
type shownLine struct {
	name, value string
}

// parseShow reads the output of systemctl show for one unit and the named properties.
func parseShow(text string, names []string) []shownLine {
	known := make(map[string]bool, len(names))
	for _, name := range names {
		known[name] = true
	}
	var lines []shownLine
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(line, "=")
		switch {
		case known[name] && len(name) < len(line):
			lines = append(lines, shownLine{name, value})
		case len(lines) > 0:
			lines[len(lines)-1].value += "\n" + line
		}
	}
	return lines
}

// shownValues returns the values by property.
func shownValues(lines []shownLine) map[string]string {
	values := make(map[string]string)
	for _, line := range lines {
		if before, seen := values[line.name]; seen {
			line.value = before + "\n" + line.value
		}
		values[line.name] = line.value
	}
	return values
}

// doubtful returns the properties that have more lines than D-Bus explains, and those
// whose values the lines may be part of.
func doubtful(lines []shownLine, known map[string]any) []string {
	count := make(map[string]int)
	apart := make(map[string]bool)
	for i, line := range lines {
		apart[line.name] = apart[line.name] || count[line.name] > 0 && lines[i-1].name != line.name
		count[line.name]++
	}
	doubt := make(map[string]bool)
	for i, line := range lines {
		if !apart[line.name] && count[line.name] <= mostLines(known[line.name]) {
			continue
		}
		doubt[line.name] = true
		if i > 0 {
			doubt[lines[i-1].name] = true
		}
	}
	return slices.Sorted(maps.Keys(doubt))
}

// mostLines returns the most lines that systemctl prints for a property that has value at
// D-Bus.
func mostLines(value any) int {
	if severalLines(value) {
		return reflect.ValueOf(value).Len()
	}
	return 1
}

// severalLines reports whether systemctl may print a line for each element of a value. It
// does so for lists of structures.
func severalLines(value any) bool {
	_, ok := value.([][]any) // a(...), as godbus returns it
	return ok
}
