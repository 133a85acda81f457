package images

import (
	"path"
	"strings"
)

// cut is something that mmdebstrap's tree has and the image does not.
type cut struct {
	path string // everything below it is cut; with wildcards (path.Match), only itself
	why  string
	keep func(p string) bool // returns true for what is not cut, or nil
}

func cuts() []cut {
	return []cut{
		{path: "dev", why: "devtmpfs brings the nodes"},
		{path: "run", why: "a tmpfs at run time"},
		{path: "boot/vmlinuz-*", why: "QEMU gets kernel and initrd from the host"},
		{path: "boot/initrd.img-*", why: "see boot/vmlinuz-*"},
		{path: "boot/vmlinuz", why: "Ubuntu's link to the one beside it"},
		{path: "boot/vmlinuz.old", why: "see boot/vmlinuz"},
		{path: "boot/initrd.img", why: "see boot/vmlinuz"},
		{path: "boot/initrd.img.old", why: "see boot/vmlinuz"},
		{path: "usr/lib/modules/*/vmlinuz", why: "forky's link to the one in boot"},
		{path: "vmlinuz*", why: "a link into boot"},
		{path: "initrd.img*", why: "a link into boot"},
		{path: "etc/apt", why: "apt is not installed, and its files name the host's mirror"},
		{path: "var/lib/apt", why: "see etc/apt"},
		{path: "var/cache/apt", why: "see etc/apt"},
		{path: "var/log/apt", why: "see etc/apt"},
		{path: "etc/dpkg/dpkg.cfg.d/99mmdebstrap", why: "options of the build"},
		{path: "etc/resolv.conf", why: "copied from the host; guests have no network"},
		{path: "etc/hostname", why: "copied from the host; systemd has its own default"},
		{path: "var/log/*.log", why: "logs of the build"},
		{path: "var/log/faillog", why: "state of the build"},
		{path: "var/cache/ldconfig/aux-cache", why: "holds inode numbers of the build"},
		{path: "var/cache/debconf/*-old", why: "a backup"},
		{path: "var/lib/dpkg/*-old", why: "a backup"},
		{path: "var/lib/dbus/machine-id", why: "an identity; dbus falls back to etc/machine-id"},
		{path: "usr/share/man", why: "documentation"},
		{path: "usr/share/info", why: "documentation"},
		{path: "usr/share/lintian", why: "for package builds"},
		{path: "usr/share/bug", why: "for bug reports"},
		{path: "usr/share/locale", why: "tests compare English texts",
			keep: func(p string) bool { return p == "usr/share/locale/locale.alias" }},
		// An image that is passed on needs the licences of its programs.
		{path: "usr/share/doc", why: "documentation",
			keep: func(p string) bool { return path.Base(p) == "copyright" }},
	}
}

// isCut reports whether an entry of the tree is not in the image. A directory whose
// content is cut stays: it is a mount point, or belongs to a package.
func isCut(cuts []cut, p string, isDir bool) bool {
	for _, c := range cuts {
		if strings.Contains(c.path, "*") {
			if ok, _ := path.Match(c.path, p); ok {
				return true
			}
			continue
		}
		if p == c.path {
			return !isDir
		}
		if !strings.HasPrefix(p, c.path+"/") {
			continue
		}
		if c.keep == nil {
			return true
		}
		return !isDir && !c.keep(p)
	}
	return false
}
