package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// Disk keeps what machines write beyond their end. One machine at a time runs on a disk.
// All machines of a disk are of the same image.
type Disk struct {
	mu    sync.Mutex
	file  *os.File      // without a name; nil once closed
	image string        // digest of the machines' image; "" before the first machine
	last  *qemu.Process // the last that was started on the disk; it may run
}

// defaultDisk is in MiB. The file is sparse.
const defaultDisk = 2048

// minDisk is in MiB. On a smaller disk ext4's own data leave no room for a boot.
const minDisk = 64

// FormatDisk returns an empty disk. mib is its size in MiB; 0 means 2048. The disk is a
// file without a name in the cache's file system, and takes as much room there as machines
// have written. FormatDisk needs mkfs.ext4. Without it, the error is a *host.Error. The
// caller closes the disk.
func FormatDisk(ctx context.Context, mib int) (*Disk, error) {
	if mib == 0 {
		mib = defaultDisk
	}
	if mib < minDisk {
		return nil, fmt.Errorf("format disk: %d MiB are too few; the least is %d", mib, minDisk)
	}
	mkfs, err := host.FindTool("mkfs.ext4")
	if err != nil {
		return nil, err
	}
	store, err := snapshots.OpenCached()
	if err != nil {
		return nil, err
	}
	file, err := store.Nameless()
	if err != nil {
		return nil, err
	}
	if err := file.Truncate(int64(mib) << 20); err != nil {
		return nil, errors.Join(fmt.Errorf("format disk: %w", err), file.Close())
	}
	cmd := exec.CommandContext(ctx, mkfs, "-q", "-F",
		// Features that the oldest kernel among the guests supports.
		"-O", "none,has_journal,extent,filetype,dir_index,sparse_super,large_file,64bit,metadata_csum",
		"-b", "4096", "-I", "256", "-m", "0", "-J", "size=16",
		// The file is all zeros, so the journal needs no zeros written to it.
		"-E", "lazy_journal_init=1",
		"/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{file}
	if out, err := cmd.CombinedOutput(); err != nil {
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case tail.LineWith(string(out), unix.ENOSPC.Error()) != "":
			err = fmt.Errorf("%w: %w", unix.ENOSPC, err)
		}
		return nil, errors.Join(HostError(fmt.Errorf("format disk: mkfs.ext4: %w: %s", err, tail.Printable(string(out)))), file.Close())
	}
	return &Disk{file: file}, nil
}

// Close removes the disk. A machine that runs on it keeps it until it ends.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return nil
	}
	file := d.file
	d.file = nil
	return file.Close()
}

// run starts QEMU with the disk, unless another machine runs on it.
func (d *Disk) run(image *images.Image, machine qemu.Machine) (*qemu.Process, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.file == nil:
		return nil, errors.New("start machine: its disk is closed")
	case d.image != "" && d.image != image.Digest:
		return nil, fmt.Errorf("start machine: its disk was written by another image than this %s; give each image a disk of its own", image.Name)
	case d.last != nil && !isClosed(d.last.Done()):
		return nil, errors.New("start machine: another one runs on its disk; Kill or Close that one first")
	}
	machine.Disk, machine.DiskSerial = d.file, guest.DiskSerial
	p, err := qemu.Start(machine)
	if err != nil {
		return nil, err
	}
	d.last, d.image = p, image.Digest
	return p, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// noDisk returns an error if the machine has a disk. A snapshot has no disk in it, and
// forks would overwrite each other's files.
func (s Spec) noDisk(doing string) error {
	if s.Disk == nil {
		return nil
	}
	return fmt.Errorf("%s: machine has Config.Disk; snapshots hold no disk", doing)
}
