package vm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/accel"
	"example.org/systemd-vmtest/vmtest/internal/boot"
	"example.org/systemd-vmtest/vmtest/internal/bundle"
	"example.org/systemd-vmtest/vmtest/internal/inputs"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// Bundle ends the machine and keeps it in a directory in dir, as it is: its clock, its udev
// and its units are left alone. about has what package vm cannot know of it.
//
// stuck says that PID 1 does not answer. It is not asked then, and the journal is as it came.
func (m *Machine) Bundle(ctx context.Context, dir string, about bundle.Info, stuck bool) (size bundle.Size, err error) {
	if err := m.spec.noDisk("keep " + m.spec.image()); err != nil {
		return size, err
	}
	d := m.spec.machine()
	about.Image, about.InitrdDigest, about.Accel = m.spec.Files.Image.Manifest, m.spec.Files.InitrdDigest, m.spec.Files.Accel
	about.Memory, about.CPUs, about.NICs = m.spec.Memory, m.spec.CPUs, m.spec.NICs
	about.KernelArgs = slices.Concat(m.spec.Files.KernelArgs, m.spec.KernelArgs)
	if about.QEMU, err = qemu.IdentifyBuild(ctx, d); err != nil {
		return size, err
	}
	if about.Args, err = argsDigest(d); err != nil {
		return size, err
	}
	b, err := bundle.Scratch(dir, m.spec.Memory)
	if err != nil {
		return size, err
	}
	defer b.Snapshot.Close() // the other files are the machine's
	b.Info, b.Kernel, b.Root, b.Initrd = about, m.spec.Files.Kernel, m.spec.Files.Root, m.spec.Files.Initrd
	if err := m.snapshotTo(ctx, b.Snapshot, stopping{prepare: m.SyncJournal, stuck: stuck}); err != nil {
		return size, HostError(err)
	}
	if size, err = b.Write(ctx, dir); err != nil {
		err = HostError(fmt.Errorf("keep %s: %w", m.spec.image(), err))
	}
	return size, err
}

// argsDigest returns the digest of QEMU's arguments for a machine.
func argsDigest(d qemu.Machine) (string, error) {
	_, args, err := qemu.Fingerprint(d)
	return inputs.Digest(fmt.Appendf(nil, "%q", args)), err
}

// OpenBundle opens the bundle at path, if this host can go on with it. The caller closes the
// snapshot. Machines and snapshots that come from it use the files that it boots from, so no Close
// closes these: they are closed when nothing refers to them any more, as each os.File is.
func OpenBundle(ctx context.Context, path string) (*Snapshot, bundle.Info, error) {
	b, err := bundle.Open(ctx, path)
	if err != nil {
		return nil, bundle.Info{}, HostError(err)
	}
	s, err := snapshotOf(ctx, b)
	if err != nil {
		return nil, bundle.Info{}, errors.Join(HostError(fmt.Errorf("resume %s: %w", b.Image.Title(), err)), b.Close())
	}
	return s, b.Info, nil
}

func snapshotOf(ctx context.Context, b *bundle.Bundle) (*Snapshot, error) {
	s := Spec{Memory: b.Memory, CPUs: b.CPUs, NICs: b.NICs, Files: &boot.Files{
		Image: &images.Image{Manifest: b.Image}, Kernel: b.Kernel, Root: b.Root, Initrd: b.Initrd,
		InitrdDigest: b.InitrdDigest, KernelArgs: b.KernelArgs, Accel: b.Accel,
	}}
	if err := accel.Recorded(b.Accel); err != nil {
		return nil, err
	}
	now, err := qemu.IdentifyBuild(ctx, s.machine())
	if err != nil {
		return nil, err
	}
	if err := now.Loads(b.QEMU); err != nil {
		return nil, &host.Error{Cause: err.Error(), Cure: "install that build, or resume it on a host like the test's", Check: host.QEMU, Err: err}
	}
	args, err := argsDigest(s.machine())
	if err != nil {
		return nil, err
	}
	if args != b.Args {
		return nil, errors.New("another version of vmtest has saved it, which started QEMU with other arguments: use that version")
	}
	at, err := readMoment(b.Snapshot)
	if err != nil {
		return nil, err
	}
	return &Snapshot{spec: s, files: b.Snapshot, moment: at}, nil
}
