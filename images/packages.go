package images

import (
	"cmp"
	"runtime"
)

// packages returns the packages of a guest besides Debian's essential set. Each one
// costs every test some time to start, so each has its reason beside it.
// The kernel is Debian's, for clouds, unless another is named: it has virtio and no
// drivers for hardware.
func packages(kernel string) []string {
	kernel = cmp.Or(kernel, "linux-image-cloud-"+runtime.GOARCH)
	return []string{
		"systemd",
		"systemd-sysv",   // makes systemd /sbin/init
		"dbus",           // the bus for calls to systemd
		"udev",           // device units
		"kmod",           // loads modules after the initrd
		"iproute2",       // ss and ip, to look at sockets from inside
		"netcat-openbsd", // nc, the client for sockets
		"netbase",        // /etc/services and /etc/protocols, for units and programs that name ports
		"libseccomp2",    // newer systemd loads it if present; without it SystemCallFilter= does nothing
		kernel,
	}
}
