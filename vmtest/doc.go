// Package vmtest runs tests of systemd units on a real systemd, in a virtual
// machine that each test has for itself.
//
// A test starts a machine, copies units in, and asks systemd about them:
//
//	func TestSocket(t *testing.T) {
//		g := vmtest.Start(t, vmtest.Config{})
//		g.CopyFS(t, os.DirFS("testdata/units"), "/etc/systemd/system")
//		g.DaemonReload(t)
//		g.EnableNow(t, "demo-echo.socket")
//		if s := g.Show(t, "demo-echo.socket", "SubState")["SubState"]; s != "listening" {
//			t.Fatalf("SubState is %s, want listening", s)
//		}
//	}
//
// and runs with go test. The host needs QEMU, to build its first image mmdebstrap
// and squashfs-tools, and for a [Disk] e2fsprogs; "vmtest setup" installs them.
// Neither KVM nor root is needed.
//
// There are two layers. [Machine] has methods that take a context and return
// errors. [Guest] has thin ones that take a testing.TB, fail the test, and leave
// the clean-up to it.
//
// # Guests
//
// A guest has what its image was built with, by default systemd, D-Bus, udev, iproute2,
// nc, kmod and what these need; [Machine.Image] lists the packages. Users come by systemd-sysusers(8),
// packages by [Guest.Copy] and dpkg(1). There is no network but the loopback, and no
// name server; "ip link add lan0 type dummy" makes an interface to bind an address to.
//
// # Environment
//
//	VMTEST_IMAGE          image that a Config without one gets, or the path of an image
//	                      folder; default debian-13
//	VMTEST_CACHE          absolute path of the folder for images and other files that are
//	                      made once; default systemd-vmtest in the user's cache folder
//	VMTEST_TIMEOUT_SCALE  factor for all deadlines, e.g. 3; see Deadlines
//	VMTEST_UNTRIMMED=1    boot the distribution's system with nothing left out
//	VMTEST_SLOTS          how many tests with machines run at once; default one a core
//	VMTEST_ACCEL          kvm, tcg, or auto: KVM where it proves to work
//	VMTEST_AGENT          prebuilt guest agent, where there is no go command
//	VMTEST_GO_PREBUILT    folder of prebuilt programs for InstallGo, likewise
//
// # Deadlines
//
// All deadlines of this package, those of a Config included, whether default or
// not, are times $VMTEST_TIMEOUT_SCALE. When one is about to strike, the speed of
// the host is measured, load and all, which takes some 0.1 s; on a host that is
// slower than deadlines are made for they are stretched by as much, up to ten
// times, and never cut. The error says what was used, and why. [WithTimeout] does
// the same for a caller's own deadline; that of any other context, and go test's
// -timeout, hold as they are.
//
// When a deadline has struck, the guest is looked at, for a few seconds at most, and
// the error says whether it is slow, spinning, idle, paused or out of memory, or
// whether QEMU itself has been stopped. A guest that no longer answers is a
// [*GuestError], with its console.
package vmtest
