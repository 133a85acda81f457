package images

import (
	"regexp"
	"strings"
)

var (
	unmetBegin = regexp.MustCompile(`^The following packages have unmet dependencies:$`)
	dpkgFault  = regexp.MustCompile(`^dpkg: error processing (package|archive) (\S+) \(--[a-z-]+\):$`)
	// dpkgStep matches what dpkg prints before a script runs.
	dpkgStep = regexp.MustCompile(`^(Setting up|Preparing to unpack|Unpacking|Removing|Purging configuration files for|Processing triggers for) `)
)

// dpkgCause returns why dpkg(1) could not unpack or configure a package, in a line, or
// "" if no line of its output is about that. The reason comes from dpkg, and after it
// the last line that the package's script printed.
func dpkgCause(lines []string) string {
	for i, line := range lines {
		m := dpkgFault.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		reason := strings.Join(indented(lines[i+1:]), "; ")
		if m[1] == "archive" {
			m[2] = m[2][strings.LastIndexByte(m[2], '/')+1:]
		}
		cause := m[1] + " " + m[2] + ": " + reason
		if i > 0 && !dpkgStep.MatchString(lines[i-1]) && strings.TrimSpace(lines[i-1]) != "" {
			cause += ": " + strings.TrimPrefix(strings.TrimSpace(lines[i-1]), "dpkg-deb: ")
		}
		return cause
	}
	return ""
}

// aptCause returns why apt-get(8) found no set of packages to install, or "". It joins
// the first lines of its explanation.
func aptCause(lines []string) string {
	const most = 4
	var unmet []string
	for i, line := range lines {
		if !unmetBegin.MatchString(line) {
			continue
		}
		unmet = indented(lines[i+1:])
	}
	if len(unmet) == 0 {
		return ""
	}
	if len(unmet) > most {
		unmet = append(unmet[:most:most], "and more")
	}
	return "unmet dependencies: " + strings.Join(unmet, "; ")
}

// indented returns the first lines that begin with a space, without their spaces.
func indented(lines []string) []string {
	var list []string
	for _, line := range lines {
		if !strings.HasPrefix(line, " ") {
			break
		}
		list = append(list, strings.Join(strings.Fields(line), " "))
	}
	return list
}
