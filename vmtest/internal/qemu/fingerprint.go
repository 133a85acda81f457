package qemu

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
)

// Fingerprint describes all outside the guest that a snapshot of m depends on. A
// snapshot loads only where Fingerprint returns the same: emulator stands for QEMU's
// executable and, under KVM, for the host's processor and kernel; args are QEMU's
// arguments. Descriptors are numbered by their order there, the same in each run.
func Fingerprint(m Machine) (emulator string, args []string, err error) {
	emulator, err = identifyBinary(m)
	if err != nil {
		return "", nil, err
	}
	if m.Accel == KVM { // the guest sees this processor, and QEMU saves this kernel's state
		host, err := identifyHost()
		if err != nil {
			return "", nil, err
		}
		emulator += "\n" + host
	}
	args, _, err = m.commandLine(wires{})
	return emulator, args, err
}

func identifyBinary(m Machine) (string, error) {
	path, err := m.binary()
	if err != nil {
		return "", err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", fmt.Errorf("find QEMU: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("find QEMU: %w", err)
	}
	id, err := host.Identify(info)
	if err != nil {
		return "", fmt.Errorf("find QEMU: %w", err)
	}
	return fmt.Sprintf("%s %+v", path, id), nil
}

// identifyHost describes the host's processor and kernel.
func identifyHost() (string, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", os.NewSyscallError("uname", err)
	}
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", fmt.Errorf("identify the host's processor: %w", err)
	}
	return fmt.Sprintf("%s %s\n%s", unix.ByteSliceToString(name.Release[:]),
		unix.ByteSliceToString(name.Version[:]), processor(cpu)), nil
}

// processorFields are the fields of /proc/cpuinfo that tell processors apart, on x86
// and then on ARM. The others vary from core to core or with time, such as "cpu MHz".
var processorFields = []string{
	"vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags", "bugs",
	"CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
}

// processor returns the lines of processorFields for the first processor, and for others
// that differ from it.
func processor(cpuinfo []byte) string {
	var seen [][]byte
	for line := range bytes.Lines(cpuinfo) {
		field, _, _ := bytes.Cut(line, []byte(":"))
		if slices.Contains(processorFields, string(bytes.TrimSpace(field))) &&
			!slices.ContainsFunc(seen, func(other []byte) bool { return bytes.Equal(line, other) }) {
			seen = append(seen, line)
		}
	}
	return string(bytes.Join(seen, nil))
}
