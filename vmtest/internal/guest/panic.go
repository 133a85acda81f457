package guest

import (
	"errors"
	"io/fs"
	"runtime"
	"slices"
)

// panicModules are the drivers through which a kernel reports a panic to QEMU
// (docs/specs/pvpanic in QEMU's sources), by architecture. Kernels before 5.13 have a
// single one.
var panicModules = map[string][]string{
	"amd64": {"pvpanic", "pvpanic_mmio"},
	"arm64": {"pvpanic_pci"},
}

// loadPanicModules loads those of the drivers that the image has. A kernel without them
// resets the machine when it panics.
func (i initrd) loadPanicModules() error {
	modules, err := i.openModules(imageDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer modules.Close()
	names := slices.Clone(panicModules[runtime.GOARCH])
	names = slices.DeleteFunc(names, func(name string) bool { return !modules.index.Has(name) })
	return i.loadFrom(modules, names...)
}
