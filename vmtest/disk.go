package vmtest

import (
	"context"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// Disk holds what machines write, so that it outlives them. A machine that is started
// with [Config].Disk finds there the files of the machine before it, and keeps the
// machine ID, and with that the journal. It is for tests of a loss of power:
//
//	disk := vmtest.NewDisk(t, 0)
//	g := vmtest.Start(t, vmtest.Config{Disk: disk})
//	g.Run(t, "sync")
//	g.Kill(t)
//	g = vmtest.Start(t, vmtest.Config{Disk: disk})
//
// Everything below /run is in RAM, as on any system. One machine at a time runs on a
// disk, all of them of the same image.
type Disk struct {
	disk *vm.Disk
}

// NewDisk gives a test an empty disk, as FormatDisk, and closes it when the test ends.
func NewDisk(t testing.TB, mib int) *Disk {
	t.Helper()
	skip(t)
	ctx, cancel := testContext(t)
	defer cancel()
	d, err := FormatDisk(ctx, mib)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// FormatDisk returns an empty disk of mib MiB; 0 is 2048. The disk is a file without a
// name in the cache's file system. It takes as much room there as machines have written.
// FormatDisk needs mkfs.ext4; a host without it is a *[HostError]. The caller closes the
// disk.
func FormatDisk(ctx context.Context, mib int) (*Disk, error) {
	d, err := vm.FormatDisk(ctx, mib)
	if err != nil {
		return nil, err
	}
	return &Disk{d}, nil
}

// Close gives up the disk and all that is on it. A machine that still runs on it keeps
// it.
func (d *Disk) Close() error { return d.disk.Close() }
