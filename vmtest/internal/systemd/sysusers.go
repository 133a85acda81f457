package systemd

import (
	"regexp"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
)

// sysusersLine matches what systemd-sysusers prints about a line of its configuration.
// systemd 247 puts the place in brackets. Lines of the command line have no path.
var sysusersLine = regexp.MustCompile(`^(?:\[(?:\S+:\d+)\] |(?:\S+:\d+): )(.*)$`)

// SysusersFaults returns the lines of stderr in which systemd-sysusers reports a line that it
// did not understand and left out. It then exits with 0. A line that says again what
// another has said is no fault.
func SysusersFaults(stderr string) []string {
	var faults []string
	for line := range strings.Lines(stderr) {
		match := sysusersLine.FindStringSubmatch(strings.TrimSpace(line))
		if match == nil || strings.HasPrefix(strings.ToLower(match[1]), "conflict") || strings.HasSuffix(match[1], "ignoring line.") {
			continue
		}
		faults = append(faults, tail.Printable(strings.TrimSpace(line)))
	}
	return faults
}
