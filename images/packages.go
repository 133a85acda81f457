package images

import "runtime"

// packages returns the packages of a guest besides Debian's essential set. Each one
// costs every test some time to start, so each has its reason beside it.
func packages() []string {
	kernel := "linux-image-cloud-amd64" // virtio and no drivers for hardware
	if runtime.GOARCH == "arm64" {
		kernel = "linux-image-cloud-arm64"
	}
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
