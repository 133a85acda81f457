package guest

import "fmt"

// DiskArg on the kernel's command line makes Init put what the guest writes on a disk
// of the machine's own. The disk is ext4 and has the serial number DiskSerial.
const (
	DiskArg    = "vmtest.disk"
	DiskSerial = "vmtest-disk"
)

// mountDisk mounts the disk on dir. The mount also repairs a file system after a loss
// of power.
func (i initrd) mountDisk(dir string) error {
	disk, err := i.await("the machine's own disk", i.disk(DiskSerial))
	if err != nil {
		return err
	}
	// Few machines need the module, so it comes from the image and not the initrd.
	if err := i.loadModules(imageDir, "ext4"); err != nil {
		return err
	}
	if err := i.mount(disk, dir, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount disk %s: %w", disk, err)
	}
	return nil
}
