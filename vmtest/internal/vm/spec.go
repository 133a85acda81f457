package vm

import (
	"io"
	"os"
	"slices"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/boot"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// Spec describes a machine.
type Spec struct {
	Files      *boot.Files
	Memory     int // MiB
	CPUs       int
	KernelArgs []string // added to those of Files
	NICs       int      // network interfaces
	Disk       *Disk    // takes what the guest writes; nil keeps that in RAM
	Instance
}

// Instance is the part of a Spec that each fork of a snapshot has for itself.
type Instance struct {
	Hostname    string        // "" is the image's own
	Network     string        // a guest.Network as Marshal returns it; "" is none
	Cables      []*os.File    // of a fork's network interfaces, as in qemu.Machine
	Clock       time.Time     // the wall clock at the start; zero is the host's
	BootTimeout time.Duration // bounds a boot, a fork and a reboot
	Console     io.Writer     // gets what the guest writes to its serial console; may be nil
	Notice      func(string)  // tells a person what they should see; may be nil
}

func (i Instance) notice(text string) {
	if i.Notice != nil {
		i.Notice(text)
	}
}

// image returns the name of the image.
func (s Spec) image() string { return s.Files.Image.Title() }

// machine describes the machine to QEMU.
func (s Spec) machine() qemu.Machine {
	m := s.Files.Machine()
	m.CPUs, m.Memory, m.NICs = s.CPUs, s.Memory, s.NICs
	m.Cmdline = slices.Concat(m.Cmdline, s.KernelArgs)
	if s.NICs > 0 {
		m.Cmdline = append(m.Cmdline, "net.ifnames=0") // eth0, eth1 and so on (systemd.net-naming-scheme(7))
	}
	if s.Disk != nil {
		m.Cmdline = append(m.Cmdline, guest.DiskArg)
	}
	return m
}
