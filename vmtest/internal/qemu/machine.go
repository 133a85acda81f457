// Package qemu describes a virtual machine, yields QEMU's arguments for it, and
// runs the process.
package qemu

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// Machine describes a virtual machine.
type Machine struct {
	Arch   string // as in runtime.GOARCH
	Binary string // QEMU's executable; "" is the usual name for Arch
	CPUs   int    // 0 is 1
	Memory int    // MiB
	Accel  Accel  // "" is TCG

	Kernel  *os.File // the kernel image
	Initrd  *os.File // the initial RAM file system
	Cmdline []string

	// Root is the root file system, which the guest only reads. The guest finds its
	// disk by the serial number RootSerial.
	Root       *os.File
	RootSerial string

	// Disk is a second disk, which the guest writes, nil for none. DiskSerial is its
	// serial number.
	Disk       *os.File
	DiskSerial string

	// PortName is the name of the virtio-serial port that carries the guest link,
	// JournalPortName that of the one that carries the journal, and SystemdPortName that of
	// the one that carries a fork's connection to PID 1.
	PortName, JournalPortName, SystemdPortName string

	// NICs is the number of network interfaces, up to MaxNICs.
	NICs int

	// Cables, if not nil, are QEMU's ends of the streams of the network interfaces. Those of
	// Process.NICs then end at once. The caller closes Cables.
	Cables []*os.File

	// RAM is the file that holds the guest's memory; nil is anonymous memory.
	RAM *RAM

	// Clock is what the hardware's clock shows at power-on; zero is the host's time.
	Clock time.Time

	// Incoming has QEMU wait for a migration (migrate-incoming) instead of running
	// the kernel.
	Incoming bool
}

// MaxNICs is the most network interfaces that a machine has.
const MaxNICs = 8

// Accel is what executes the guest's instructions.
type Accel string

// The accelerators.
const (
	TCG Accel = "tcg" // emulation; works everywhere
	KVM Accel = "kvm" // the host's processor
)

// RAM is a file of Machine.Memory MiB as a guest's memory.
type RAM struct {
	File *os.File
	// Private keeps the guest's writes out of the file, page by page, so that many
	// machines can start from one file.
	Private bool
}

// tbSize bounds the translation cache of the emulator, in MiB. A quarter of it costs a
// quarter of the speed, and more gains none. All of it is private memory of a machine.
const tbSize = 128

// wires are QEMU's ends of a machine's streams.
type wires struct {
	console, link, journal, systemd, monitor *os.File
	nics                                     []*os.File
}

// close closes the ends, once QEMU has them.
func (w wires) close() {
	for _, f := range append(w.nics, w.console, w.link, w.journal, w.systemd, w.monitor) {
		f.Close() // a nil *os.File may be closed
	}
}

// commandLine returns QEMU's arguments and the files that they refer to.
func (m Machine) commandLine(w wires) ([]string, []*os.File, error) {
	arch, err := lookupArch(m.Arch)
	if err != nil {
		return nil, nil, err
	}
	var a args
	a.add("-nodefaults", "-no-user-config", "-display", "none")
	// A guest that breaks out of QEMU must not start a process here.
	a.add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
	machine := arch.machine
	if m.RAM != nil {
		a.add("-object", fmt.Sprintf("memory-backend-file,id=ram,size=%dM,mem-path=%s,share=%s",
			m.Memory, a.inheritPath(m.RAM.File), onOff(!m.RAM.Private)))
	} else {
		a.add("-object", fmt.Sprintf("memory-backend-ram,id=ram,size=%dM", m.Memory))
	}
	machine += ",memory-backend=ram"
	a.add("-machine", machine)
	kernel := []string{"console=" + arch.console}
	if m.Accel == KVM {
		a.add("-accel", "kvm", "-cpu", "host")
	} else {
		a.add("-accel", fmt.Sprintf("tcg,tb-size=%d", tbSize), "-cpu", arch.tcgCPU)
		kernel = append(kernel, arch.tcgArgs...)
	}
	smp, kernelArgs := m.processors()
	a.add("-smp", smp)
	kernel = append(kernel, kernelArgs...)
	a.add("-m", fmt.Sprintf("%dM", m.Memory))
	// QEMU exits when its guest reboots or panics, and the host sees that at once.
	a.add("-no-reboot")
	a.add("-kernel", a.inheritPath(m.Kernel), "-initrd", a.inheritPath(m.Initrd))
	a.add("-append", strings.Join(append(kernel, m.Cmdline...), " "))
	if !m.Clock.IsZero() {
		a.add("-rtc", "base="+m.Clock.UTC().Format("2006-01-02T15:04:05"))
	}
	if m.Incoming {
		a.add("-incoming", "defer")
	}
	disk{file: m.Root, serial: m.RootSerial}.args(&a)
	if m.Disk != nil {
		disk{file: m.Disk, serial: m.DiskSerial, writable: true}.args(&a)
	}
	for _, d := range []device{
		entropy{},
		panicNotifier{arch.panics},
		portBus{ports: 3},
		port{file: w.link, id: LinkID, name: m.PortName},
		port{file: w.journal, id: JournalID, name: m.JournalPortName},
		port{file: w.systemd, id: SystemdID, name: m.SystemdPortName},
		serialConsole{w.console},
		monitor{w.monitor},
	} {
		d.args(&a)
	}
	for n := range m.NICs {
		d := nic{n: n}
		if n < len(m.Cables) {
			d.file = m.Cables[n]
		} else if n < len(w.nics) {
			d.file = w.nics[n]
		}
		d.args(&a)
	}
	return a.list, a.files, nil
}

// processors returns the argument of -smp, and arguments of a kernel that is emulated so.
//
// TCG before QEMU 8.1 emits no memory barrier where there can be one processor only, though
// QEMU's main loop runs beside it. A kernel that puts a buffer into a virtqueue may then read
// whether QEMU wants to hear of it before QEMU sees the buffer, and neither ever goes on: a
// network card stood still after 48,684 frames. The second processor, which is never plugged
// in, makes TCG emit barriers. With nr_cpus a kernel still knows of one processor only, and
// leaves out what several need.
func (m Machine) processors() (smp string, kernel []string) {
	if m.Accel != KVM && m.CPUs <= 1 {
		return "1,maxcpus=2", []string{"nr_cpus=1"}
	}
	return fmt.Sprint(max(m.CPUs, 1)), nil
}
