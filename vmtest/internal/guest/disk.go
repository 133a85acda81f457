package guest

import (
	"fmt"

	"github.com/u-root/u-root/pkg/kmodule"
	"golang.org/x/sys/unix"
)

// DiskArg on the kernel's command line tells Init that the machine has a disk of its
// own, ext4 and marked by DiskSerial, for all that the guest writes.
const (
	DiskArg    = "vmtest.disk"
	DiskSerial = "vmtest-disk"
)

// mountDisk mounts the disk on dir, and with that brings a file system that lost its
// power back to a state that it was in.
func mountDisk(dir string) error {
	disk, err := waitDevice("the machine's own disk", deviceWait, func() (string, bool) { return findDisk(DiskSerial) })
	if err != nil {
		return err
	}
	if err := inImage(func() error { return kmodule.Probe("ext4", "") }); err != nil {
		return fmt.Errorf("load module ext4 of the image: %w", err)
	}
	if err := unix.Mount(disk, dir, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount disk %s: %w", disk, err)
	}
	return nil
}

// inImage calls f with the image as the root folder. The modules that a few machines
// need are taken from there, and the initrd stays small for all others; an image may
// have links there that are true for its own root alone.
func inImage(f func() error) error {
	outside, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the root folder: %w", err)
	}
	defer unix.Close(outside)
	if err := unix.Chroot(imageDir); err != nil {
		return fmt.Errorf("change root to %s: %w", imageDir, err)
	}
	err = f()
	// chroot(2): the working folder has not changed, so "." leads out again.
	if back := unix.Fchdir(outside); back != nil {
		return fmt.Errorf("change root back: %w", back)
	}
	if back := unix.Chroot("."); back != nil {
		return fmt.Errorf("change root back: %w", back)
	}
	return err
}
