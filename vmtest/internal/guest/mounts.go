package guest

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// RootSerial is the serial number of the disk that holds the image.
const RootSerial = "vmtest-root"

// Where the initrd mounts its layers.
const (
	imageDir = "/image"         // the image
	upperDir = "/written/upper" // what the guest writes
	newRoot  = "/newroot"       // the two together
)

// apiMounts are the file systems that the kernel serves itself. The booted system
// keeps them.
var apiMounts = []struct{ source, target, fstype, data string }{
	{"devtmpfs", "/dev", "devtmpfs", "mode=0755"},
	{"proc", "/proc", "proc", ""},
	{"sysfs", "/sys", "sysfs", ""},
	{"tmpfs", "/run", "tmpfs", "mode=0755"},
}

func (i initrd) mountAPI() error {
	for _, m := range apiMounts {
		if err := i.makeDir("mount point", m.target); err != nil {
			return err
		}
		flags := uintptr(unix.MS_NOSUID)
		if m.fstype != "devtmpfs" {
			flags |= unix.MS_NODEV
		}
		if err := i.mount(m.source, i.path(m.target), m.fstype, flags, m.data); err != nil && err != unix.EBUSY {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return nil
}

// mountRoot mounts the image and over it, by mountUpper, what the guest writes. The
// layers' own mount points stay in the initrd, where the booted system does not see
// them.
func (i initrd) mountRoot(mountUpper func(dir string) error) error {
	disk, err := i.await("the root disk", i.disk(RootSerial))
	if err != nil {
		return err
	}
	writable := filepath.Dir(upperDir)
	for _, dir := range []string{imageDir, writable, newRoot} {
		if err := i.makeDir("mount point", dir); err != nil {
			return err
		}
	}
	if err := i.mount(disk, i.path(imageDir), "squashfs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount image %s: %w", disk, err)
	}
	if err := mountUpper(i.path(writable)); err != nil {
		return err
	}
	work := writable + "/work"
	for _, dir := range []string{upperDir, work} {
		if err := i.makeDir("overlay directory", dir); err != nil {
			return err
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", i.path(imageDir), i.path(upperDir), i.path(work))
	if err := i.mount("overlay", i.path(newRoot), "overlay", 0, layers); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	return nil
}

func (i initrd) mountRAM(dir string) error {
	if err := i.mount("tmpfs", dir, "tmpfs", 0, "mode=0755,size=80%"); err != nil {
		return fmt.Errorf("mount RAM for the overlay: %w", err)
	}
	return nil
}

func (i initrd) makeDir(what, dir string) error {
	if err := os.MkdirAll(i.path(dir), 0o755); err != nil {
		return fmt.Errorf("make %s %s: %w", what, dir, err)
	}
	return nil
}

// switchRoot makes newRoot the root directory, takes the API file systems along and
// replaces this process by init. See switch_root(8).
func switchRoot(newRoot, init string) error {
	for _, m := range apiMounts {
		target := filepath.Join(newRoot, m.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return fmt.Errorf("switch root: make mount point: %w", err)
		}
		if err := unix.Mount(m.target, target, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("switch root: move %s: %w", m.target, err)
		}
	}
	if err := unix.Chdir(newRoot); err != nil {
		return fmt.Errorf("switch root: change directory: %w", err)
	}
	// Over the initrd's root, which cannot be unmounted.
	if err := unix.Mount(newRoot, "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("switch root: move %s: %w", newRoot, err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("switch root: change root: %w", err)
	}
	if err := unix.Exec(init, []string{init}, []string{}); err != nil {
		return fmt.Errorf("switch root: run %s: %w", init, err)
	}
	return nil
}
