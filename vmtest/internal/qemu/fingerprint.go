package qemu

import (
	"fmt"
	"os"
	"path/filepath"
)

// Fingerprint tells one machine from another: a snapshot of m can be forked only by
// an emulator and with arguments for which Fingerprint says the same. Descriptors
// in the arguments are numbered by their order, so they do not differ from run to
// run.
func Fingerprint(m Machine) (emulator string, args []string, err error) {
	path, err := m.binary()
	if err != nil {
		return "", nil, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", nil, fmt.Errorf("find QEMU: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", nil, fmt.Errorf("find QEMU: %w", err)
	}
	args, _, err = m.commandLine(wires{})
	return fmt.Sprintf("%s %d %d", path, info.Size(), info.ModTime().UnixNano()), args, err
}
