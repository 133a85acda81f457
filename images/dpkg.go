package images

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// parseStatus returns the installed packages of dpkg's status file, sorted by name.
// deb-control(5) has its syntax.
func parseStatus(b []byte) []Package {
	var list []Package
	for stanza := range strings.SplitSeq(string(b), "\n\n") {
		var p Package
		installed := false
		for line := range strings.SplitSeq(stanza, "\n") {
			key, value, _ := strings.Cut(line, ": ")
			switch key {
			case "Package":
				p.Name = value
			case "Version":
				p.Version = value
			case "Architecture":
				p.Arch = value
			case "Status":
				installed = value == "install ok installed"
			}
		}
		if installed && p.Name != "" {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Arch, b.Arch))
	})
	return list
}

// systemdVersion returns the version of the package systemd, and systemd's own number.
func systemdVersion(list []Package) (version string, major int, err error) {
	for _, p := range list {
		if p.Name != "systemd" {
			continue
		}
		upstream := p.Version[strings.IndexByte(p.Version, ':')+1:] // without the epoch
		end := strings.IndexFunc(upstream, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(upstream)
		}
		major, err := strconv.Atoi(upstream[:end])
		if err != nil {
			return "", 0, fmt.Errorf("read systemd version %q: %w", p.Version, err)
		}
		return p.Version, major, nil
	}
	return "", 0, errors.New("read systemd version: the package is not installed")
}
