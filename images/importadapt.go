package images

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"example.org/systemd-vmtest/internal/rootfs"
)

// adapt changes a tree where a guest could not boot from it, or would have the identity
// of another machine. It returns a note for each change that a person should see.
func adapt(t *rootfs.Tree) (notes []string, err error) {
	for _, dir := range []string{"dev", "proc", "run", "sys"} {
		if err := t.EmptyDir(dir); err != nil { // the booted system mounts its own there
			return nil, err
		}
	}
	t.Remove(".dockerenv") // of docker export; systemd would take the guest for a container
	// Units of a test go there, and a distribution may leave it to systemctl to make it.
	if !t.IsLink("etc/systemd/system") {
		if err := t.MakeDir("etc/systemd/system"); err != nil {
			return nil, err
		}
	}
	if err := t.WriteFile(machineID, nil, 0o444); err != nil {
		return nil, err
	}
	if b, err := t.ReadFile("etc/fstab", 1<<20); err == nil {
		text, cut := plainFstab(string(b))
		if len(cut) > 0 {
			if err := t.WriteFile("etc/fstab", []byte(text), 0o644); err != nil {
				return nil, err
			}
			notes = append(notes, "commented out in /etc/fstab, because the guest has no such file systems: "+strings.Join(cut, ", "))
		}
	}
	if !hasUnit(t, "default.target") {
		notes = append(notes, "no default.target: the guest does not finish its boot; link it to multi-user.target in the source")
	}
	if b, err := t.ReadFile("etc/selinux/config", 1<<20); err == nil && strings.Contains("\n"+string(b), "\nSELINUX=enforcing") {
		notes = append(notes, "SELinux is enforcing, and its labels may be missing in the image: if the guest does not start, "+
			"set SELINUX=permissive in the source's /etc/selinux/config")
	}
	for _, unit := range []string{"systemd-networkd-wait-online.service", "NetworkManager-wait-online.service"} {
		for _, dir := range unitDirs {
			if link := path.Join(dir, "network-online.target.wants", unit); t.IsLink(link) {
				notes = append(notes, "/"+link+" waits for a network that the guest does not have, and so may its boot: mask it in the source")
			}
		}
	}
	return notes, nil
}

// unitDirs are the directories of units in an image; see systemd.unit(5).
var unitDirs = []string{"etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"}

func hasUnit(t *rootfs.Tree, unit string) bool {
	return slices.ContainsFunc(unitDirs, func(dir string) bool {
		name := path.Join(dir, unit)
		return t.Has(name) || t.IsLink(name) // an absolute link can lead to another directory of units
	})
}

// networkTypes are the file systems of fstab(5) that come from other machines.
var networkTypes = map[string]bool{"nfs": true, "nfs4": true, "cifs": true, "smb3": true, "ceph": true, "glusterfs": true, "fuse.sshfs": true}

// plainFstab returns an fstab(5) without the file systems that no guest has, and the
// mount points of those, printable. systemd waits for such a disk until it gives up.
func plainFstab(text string) (plain string, cut []string) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) >= 3 && !strings.HasPrefix(f[0], "#") && (isDisk(f[0]) || networkTypes[f[2]]) {
			b.WriteString("# not in a test guest: ")
			if f[1] == "none" || f[2] == "swap" {
				f[1] = "swap"
			}
			cut = append(cut, oneLine(f[1]))
		}
		b.WriteString(line)
	}
	return b.String(), cut
}

// isDisk reports whether the first field of a line in fstab(5) names a disk.
func isDisk(source string) bool {
	for _, begin := range []string{"UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "ID=", "/dev/"} {
		if strings.HasPrefix(source, begin) {
			return true
		}
	}
	return false
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
		{"readlink", []string{"readlink"}, "Verify finds no links"},
		{"sh", []string{"/bin/sh"}, "no shell: generators that look for inputs do not run (see vmtest trim), nor do scripts of a test"},
		{"ss", []string{"ss"}, "Sockets and WaitSocket fail"},
		{"systemctl", []string{"systemctl"}, "Enable, DaemonReload and other calls fail"},
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
