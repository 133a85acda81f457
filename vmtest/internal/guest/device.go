package guest

import (
	"os"
	"path/filepath"
	"strings"
)

// disk returns a function that finds the device of the disk with a serial number.
func (i initrd) disk(serial string) func() (string, bool) {
	return func() (string, bool) { return findDevice(i.root, "sys/block/*/serial", serial) }
}

// findDevice finds the device below root/dev whose attribute in sysfs has a value.
// attribute is a pattern below root. The device must have its node already.
func findDevice(root, attribute, value string) (string, bool) {
	paths, err := filepath.Glob(filepath.Join(root, attribute))
	if err != nil {
		return "", false
	}
	for _, path := range paths {
		if data, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(data)) != value {
			continue
		}
		dev := filepath.Join(root, "dev", filepath.Base(filepath.Dir(path)))
		if _, err := os.Stat(dev); err == nil {
			return dev, true
		}
	}
	return "", false
}
