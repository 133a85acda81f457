package images

import (
	"path"
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
		if target, _ := t.ReadLink(path.Join("etc/systemd/system", unit)); target == "/dev/null" {
			continue // masked; see systemctl(1)
		}
		for _, dir := range unitDirs {
			if link := path.Join(dir, "network-online.target.wants", unit); t.IsLink(link) {
				notes = append(notes, "/"+link+" waits for a network that the guest does not have, and so may its boot: mask it in the source")
			}
		}
	}
	return notes, nil
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
