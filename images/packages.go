package images

import "runtime"

// packages are what a guest carries beyond Debian's essential set. Each line
// costs every test some start-up time, so each one says who needs it.
func packages() []string {
	kernel := "linux-image-cloud-amd64" // virtio and no drivers for hardware
	if runtime.GOARCH == "arm64" {
		kernel = "linux-image-cloud-arm64"
	}
	return []string{
		"systemd",
		"systemd-sysv",   // makes systemd /sbin/init
		"dbus",           // the bus over which systemd is asked
		"udev",           // device units
		"kmod",           // modules after the initrd
		"iproute2",       // ss and ip, to look at sockets from inside
		"netcat-openbsd", // the client that the how-to uses
		"libseccomp2",    // newer systemd loads it if it is there; without it SystemCallFilter= does nothing
		kernel,
	}
}
