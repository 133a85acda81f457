// Package mounts is an example of code whose tests need root.
package mounts

import (
	"fmt"
	"syscall"
)

// Memory mounts an empty file system in memory on dir.
func Memory(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NOSUID, "size=1m"); err != nil {
		return fmt.Errorf("mount on %s: %w", dir, err)
	}
	return nil
}

// Unused is what no test covers.
func Unused() int { return 1 }
