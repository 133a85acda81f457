package qemu

import (
	"fmt"
	"net"
	"os"
	"strings"
)

// args collects a command line together with the descriptors that it names. A
// child of exec.Cmd finds its ExtraFiles from descriptor 3 on.
type args struct {
	list  []string
	files []*os.File
}

func (a *args) add(words ...string) { a.list = append(a.list, words...) }

// inherit passes f to QEMU and returns its descriptor there.
func (a *args) inherit(f *os.File) int {
	a.files = append(a.files, f)
	return 2 + len(a.files)
}

// inheritPath passes f to QEMU and returns the path by which QEMU can open it. The path
// stands for f even if its file has been replaced or removed.
func (a *args) inheritPath(f *os.File) string {
	return fmt.Sprintf("/proc/self/fd/%d", a.inherit(f))
}

// escape doubles the commas in a value for QEMU's comma-separated options.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// device is a part of a machine. Its args adds QEMU's arguments for it.
type device interface{ args(*args) }

// disk is a virtio-blk disk on a raw file. The guest finds it by its serial number, which
// has at most 20 bytes.
type disk struct {
	file     *os.File
	serial   string
	writable bool
}

func (d disk) args(a *args) {
	if d.writable {
		// With QEMU's defaults a write is in the host's page cache when it is answered,
		// so it outlives QEMU, and a flush reaches the file. If the host's disk is full
		// the guest sees an error; by default the machine would stop.
		a.add("-blockdev", fmt.Sprintf("driver=file,node-name=%s,filename=%s", d.serial, a.inheritPath(d.file)))
		a.add("-device", fmt.Sprintf("virtio-blk-pci,drive=%s,serial=%s,werror=report", d.serial, d.serial))
		return
	}
	// No cache.direct: forks of one snapshot share the page cache of this file, and
	// that makes a fork cheap. No lock: an image is never written in place, and a lock
	// would tie the runs of several users together.
	a.add("-blockdev", fmt.Sprintf("driver=file,node-name=%s,filename=%s,read-only=on,locking=off",
		d.serial, a.inheritPath(d.file)))
	a.add("-device", fmt.Sprintf("virtio-blk-pci,drive=%s,serial=%s", d.serial, d.serial))
}

// serialConsole is the first serial port, on an inherited stream socket.
type serialConsole struct{ file *os.File }

func (c serialConsole) args(a *args) {
	a.add("-chardev", fmt.Sprintf("socket,id=console,fd=%d", a.inherit(c.file)))
	a.add("-serial", "chardev:console")
}

// LinkID, JournalID and SystemdID are the names of the ports of the guest link, of the journal
// and of the connection to PID 1, and of the streams behind them, in QEMU's commands and
// events.
const (
	LinkID    = "link"
	JournalID = "journal"
	SystemdID = "systemd"
)

// portBus is the device that the virtio-serial ports belong to. Port 0 is for a console.
type portBus struct{ ports int }

func (b portBus) args(a *args) {
	a.add("-device", fmt.Sprintf("virtio-serial-pci,max_ports=%d", 1+b.ports))
}

// port is a virtio-serial port on an inherited stream socket.
type port struct {
	file *os.File
	id   string // in QEMU's commands and events
	name string // in the guest
}

func (p port) args(a *args) {
	a.add("-chardev", fmt.Sprintf("socket,id=%s,fd=%d", p.id, a.inherit(p.file)))
	a.add("-device", fmt.Sprintf("virtserialport,id=%s,chardev=%s,name=%s", p.id, p.id, escape(p.name)))
}

// monitor is QMP on an inherited stream socket.
type monitor struct{ file *os.File }

func (m monitor) args(a *args) {
	a.add("-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", a.inherit(m.file)))
	a.add("-mon", "chardev=qmp,mode=control")
}

// nic is a virtio-net device. Frames pass through an inherited stream socket, each behind its
// length, as 32 bits in network byte order (QEMU's net/socket.c).
type nic struct {
	file *os.File
	n    int // which NIC of the machine it is, from 0
}

func (n nic) args(a *args) {
	a.add("-netdev", fmt.Sprintf("socket,id=net%d,fd=%d", n.n, a.inherit(n.file)))
	// A fork gets an address of its own, so it has nothing to announce. No option ROM: the
	// guest boots from no network.
	a.add("-device", fmt.Sprintf("virtio-net-pci,id=%s,netdev=net%d,mac=%s,guest_announce=off,romfile=",
		NICID(n.n), n.n, NICAddress(n.n)))
}

// NICID returns the name of NIC n in QEMU's commands.
func NICID(n int) string { return fmt.Sprintf("nic%d", n) }

// NICAddress returns the Ethernet address with which NIC n of each machine begins. In a network
// it gets another one.
func NICAddress(n int) net.HardwareAddr {
	return net.HardwareAddr{0x52, 0x54, 0, 0, 0, byte(n)} // the prefix of QEMU's documentation
}

// entropy is a virtio-rng device. Without it a kernel under emulation waits many
// seconds for its first random number.
type entropy struct{}

func (entropy) args(a *args) {
	a.add("-object", "rng-builtin,id=entropy")
	a.add("-device", "virtio-rng-pci,rng=entropy")
}

// panicNotifier is the device by which the guest's kernel reports its panic (QEMU's
// docs/specs/pvpanic.rst), if the kernel has loaded its driver. QEMU then sends the
// events GUEST_PANICKED and SHUTDOWN, this one with the reason "guest-panic", and exits.
// A reboot has another reason. Text on the console proves no panic: any unit can write
// it.
type panicNotifier struct{ device string }

func (n panicNotifier) args(a *args) { a.add("-device", n.device) }

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
