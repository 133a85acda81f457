package qemu

import (
	"fmt"
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

// inherit hands f to QEMU and returns the number it will have there.
func (a *args) inherit(f *os.File) int {
	a.files = append(a.files, f)
	return 2 + len(a.files)
}

// inheritPath hands f to QEMU and returns a path under which it can open it. A file
// that has been replaced or removed since f was opened is the same file there.
func (a *args) inheritPath(f *os.File) string {
	return fmt.Sprintf("/proc/self/fd/%d", a.inherit(f))
}

// escape makes a value fit for QEMU's comma-separated options, in which a comma
// is written twice.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// device is one part of a machine that knows its own arguments.
type device interface{ args(*args) }

// disk is a virtio-blk disk on a raw file. The guest finds it by its serial number,
// at most 20 bytes long.
type disk struct {
	file     *os.File
	serial   string
	writable bool
}

func (d disk) args(a *args) {
	if d.writable {
		// QEMU's own choices: what the guest writes is in the host's page cache when
		// the write is answered, so it outlives QEMU, and a flush is a flush. A host
		// without room is an error that the guest sees, not a machine that stops.
		a.add("-blockdev", fmt.Sprintf("driver=file,node-name=%s,filename=%s", d.serial, a.inheritPath(d.file)))
		a.add("-device", fmt.Sprintf("virtio-blk-pci,drive=%s,serial=%s,werror=report", d.serial, d.serial))
		return
	}
	// Forks of one snapshot read the same file: a shared page cache is what makes
	// a fork cheap, so no cache.direct. Nobody writes an image in place, so no lock
	// is needed that would tie the runs of several users together.
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

// LinkID names the guest link's port, and the stream behind it, in QEMU's commands
// and events.
const LinkID = "link"

// port is a virtio-serial port on an inherited stream socket.
type port struct {
	file *os.File
	name string
}

func (p port) args(a *args) {
	a.add("-device", "virtio-serial-pci,max_ports=2")
	a.add("-chardev", fmt.Sprintf("socket,id=%s,fd=%d", LinkID, a.inherit(p.file)))
	a.add("-device", fmt.Sprintf("virtserialport,id=%s,chardev=%s,name=%s", LinkID, LinkID, escape(p.name)))
}

// monitor is QMP on an inherited stream socket.
type monitor struct{ file *os.File }

func (m monitor) args(a *args) {
	a.add("-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", a.inherit(m.file)))
	a.add("-mon", "chardev=qmp,mode=control")
}

// entropy is a virtio-rng device. Without it a kernel under emulation waits many
// seconds for its first random number.
type entropy struct{}

func (entropy) args(a *args) {
	a.add("-object", "rng-builtin,id=entropy")
	a.add("-device", "virtio-rng-pci,rng=entropy")
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
