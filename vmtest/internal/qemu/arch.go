package qemu

import "fmt"

// arch is what differs between the architectures of guests.
type arch struct {
	binary  string
	machine string
	console string // the kernel's name of the first serial port
	tcgCPU  string
	tcgArgs []string // arguments of a kernel that is emulated
	panics  string   // the device by which the kernel reports a panic
}

var arches = map[string]arch{
	"amd64": {
		binary:  "qemu-system-x86_64",
		machine: "q35,smm=off,vmport=off,sata=off,smbus=off",
		console: "ttyS0",
		// The plainest model boots a quarter faster under emulation than an Intel
		// model: for this vendor the kernel leaves page-table isolation out.
		//
		// No cmpxchg16b: QEMU 7.2's emulation of it reads the flags from a stale place.
		// An interrupt at its end sometimes saves an operand as EFLAGS then, and the
		// kernel dies of a double fault in kmem_cache_alloc. A kernel whose processor
		// lacks the instruction does not use it.
		tcgCPU: "qemu64,-cx16,-svm",
		// The kernel counts the ticks of its timer for a moment, and panics if there are
		// too few: "IO-APIC + timer doesn't work!". On a busy host the emulator delivers
		// too few. Under KVM a kernel leaves this check out by itself.
		tcgArgs: []string{"no_timer_check"},
		panics:  "pvpanic", // on the ISA bus: Linux has no driver for pvpanic-pci before 5.13
	},
	"arm64": {
		binary:  "qemu-system-aarch64",
		machine: "virt,gic-version=3",
		console: "ttyAMA0",
		tcgCPU:  "cortex-a57",
		panics:  "pvpanic-pci",
	},
}

func lookupArch(name string) (arch, error) {
	a, ok := arches[name]
	if !ok {
		return arch{}, fmt.Errorf("architecture %q: not supported (amd64 and arm64 are)", name)
	}
	return a, nil
}
