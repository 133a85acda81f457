package images

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"example.org/systemd-vmtest/internal/rootfs"
)

// unitDirs are the directories of units in an image; see systemd.unit(5).
var unitDirs = []string{"etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"}

func hasUnit(t *rootfs.Tree, unit string) bool {
	return slices.ContainsFunc(unitDirs, func(dir string) bool {
		name := path.Join(dir, unit)
		return t.Has(name) || t.IsLink(name) // an absolute link can lead to another directory of units
	})
}

// unitDir returns Manifest.Units of a tree. A distribution whose /etc/systemd/system is a
// link keeps it somewhere else, which need not be writable.
func unitDir(t *rootfs.Tree) string {
	if t.IsLink("etc/systemd/system") {
		return "/run/systemd/system"
	}
	return ""
}

// binDirs are the usual directories of ordinary programs.
var binDirs = []string{"bin", "usr/bin", "usr/local/bin", "run/current-system/sw/bin"}

// binDir returns Manifest.Bin of a tree: the directory of cat.
func binDir(t *rootfs.Tree) string {
	for _, dir := range binDirs {
		if t.Has(path.Join(dir, "cat")) {
			if dir == "bin" {
				return "" // the default
			}
			return "/" + dir
		}
	}
	return ""
}

// need is something of a guest that the framework or a test makes use of.
type need struct {
	name  string   // in Manifest.Lacks
	any   []string // one of these paths; without a slash, a unit or a program in PATH
	costs string   // what does not work without it
}

func needs() []need {
	return []need{
		{"dbus", []string{"dbus.socket"}, "no system bus: busctl and units of Type=dbus do not work"},
		{"journalctl", []string{"journalctl"}, "no journal: calls that read it fail"},
		{"nc", []string{"nc", "ncat", "netcat"}, "no client for sockets; Dial works"},
		{"readlink", []string{"readlink"}, "Verify can fail"},
		{"sh", []string{"/bin/sh"}, "no shell: generators that look for inputs do not run (see vmtest trim), nor do scripts of a test"},
		{"ss", []string{"ss"}, "errors of Dial do not name what listens"},
		{"systemctl", []string{"systemctl"}, "Show, ApplyConfig and others fail"},
		{"systemd-analyze", []string{"systemd-analyze"}, "Verify fails"},
		{"udevadm", []string{"udevadm"}, "no device units; a snapshot does not wait for udev"},
	}
}

// pathDirs are the directories where the agent looks for programs.
var pathDirs = []string{"usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin", "run/current-system/sw/bin"}

// lacks returns Manifest.Lacks of a tree.
func lacks(t *rootfs.Tree) []string {
	var list []string
	for _, n := range needs() {
		if !hasAny(t, n.any) {
			list = append(list, n.name)
		}
	}
	return list
}

func hasAny(t *rootfs.Tree, names []string) bool {
	for _, name := range names {
		if strings.Contains(name, "/") {
			if t.Has(name) {
				return true
			}
			continue
		}
		if hasUnit(t, name) {
			return true
		}
		for _, dir := range pathDirs {
			if n, _, err := t.Lookup(path.Join(dir, name)); err == nil && n.Executable() {
				return true
			}
		}
	}
	return false
}

// lackNotes returns a line for each thing that a guest lacks.
func lackNotes(lacks []string) []string {
	var notes []string
	for _, n := range needs() {
		for _, name := range lacks {
			if name == n.name {
				notes = append(notes, fmt.Sprintf("the guest lacks %s: %s", name, n.costs))
			}
		}
	}
	return notes
}
