// Package boot opens what a machine boots from: the kernel and the root file system of an
// image, an initrd with the agent, and the kernel's arguments.
package boot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/accel"
	"example.org/systemd-vmtest/vmtest/internal/gobuild"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/initrd"
	"example.org/systemd-vmtest/vmtest/internal/memo"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/trim"
)

// Files are what a machine boots from. They stay open until the process ends. A machine
// keeps its files if the image is built again.
type Files struct {
	Image        *images.Image
	Kernel, Root *os.File
	Initrd       *os.File // in memory
	InitrdDigest string   // SHA-256
	KernelArgs   []string
	Accel        qemu.Accel
	KVMFault     string // why KVM is not used; "" if it is, or if $VMTEST_ACCEL is set
}

// Options select the files.
type Options struct {
	Image     images.Spec
	Untrimmed bool // boot the distribution's system as it is; see package trim

	Progress func(images.Progress) // reports the build of the image; may be nil
	Notice   func(string)          // prints a line for the user; must not be nil
}

// opened keeps the files of this process, because verifying the image and updating the
// agent takes longer than a fork.
var opened memo.Memo[key, *Files]

type key struct {
	image     string
	untrimmed bool
}

// Open returns the files that o selects. It builds the image, the agent and the initrd if
// they are missing or out of date.
func Open(ctx context.Context, o Options) (*Files, error) {
	image, err := o.Image.Key()
	if err != nil {
		return nil, err
	}
	return opened.Get(ctx, key{image, o.Untrimmed}, func() (*Files, error) { return open(ctx, o) })
}

func open(ctx context.Context, o Options) (*Files, error) {
	f, err := openFiles(ctx, o)
	if err != nil {
		return nil, err
	}
	if f.Accel, f.KVMFault, err = accel.Choose(ctx, f.probe(), f.Image.Digest, o.Notice); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// openFiles opens the files of one image. Another process may replace the image while
// openFiles opens its files by path. Then openFiles begins again with the new image.
func openFiles(ctx context.Context, o Options) (*Files, error) {
	for {
		image, err := images.Open(ctx, o.Image, images.Options{Progress: o.Progress})
		if err != nil {
			return nil, err
		}
		f := &Files{Image: image}
		err = f.fill(ctx, o)
		check := image.Check()
		if err = cmp.Or(err, check); err == nil {
			return f, nil
		}
		f.close()
		if !errors.Is(check, images.ErrReplaced) || ctx.Err() != nil {
			return nil, err
		}
	}
}

// fill opens the kernel and the root file system, and builds the initrd.
func (f *Files) fill(ctx context.Context, o Options) (err error) {
	if f.Kernel, err = os.Open(f.Image.Kernel()); err != nil {
		return fmt.Errorf("open image %s: %w", f.Image.Name, err)
	}
	if f.Root, err = os.Open(f.Image.Root()); err != nil {
		return fmt.Errorf("open image %s: %w", f.Image.Name, err)
	}
	agent, err := gobuild.Agent(ctx, f.Image.Arch, o.Notice)
	if err != nil {
		return err
	}
	var trimmed []trim.Item
	if !o.Untrimmed {
		if trimmed, err = trim.List(); err != nil {
			return err
		}
	}
	f.KernelArgs = append([]string{
		"quiet",
		"panic=-1",        // with QEMU's -no-reboot: a panic ends the machine at once
		"8250.nr_uarts=1", // the machine has one serial port; the kernel assumes four
	}, trim.KernelArgs(trimmed)...)
	if f.Initrd, err = buildInitrd(f.Image, agent, trimmed); err != nil {
		return err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(f.Initrd, 0, 1<<40)); err != nil {
		return fmt.Errorf("hash initrd: %w", err)
	}
	f.InitrdDigest = hex.EncodeToString(hash.Sum(nil))
	return nil
}

// probeMemory is the memory in MiB of the machine that tests KVM.
const probeMemory = 256

// probe returns the machine that tests KVM.
func (f *Files) probe() qemu.Machine {
	m := f.Machine()
	m.CPUs, m.Memory = 1, probeMemory
	return m
}

// Machine returns a machine that boots from the files. The caller sets its memory and
// CPUs.
func (f *Files) Machine() qemu.Machine {
	return qemu.Machine{
		Arch:            f.Image.Arch,
		Accel:           f.Accel,
		Kernel:          f.Kernel,
		Initrd:          f.Initrd,
		Cmdline:         f.KernelArgs,
		Root:            f.Root,
		RootSerial:      guest.RootSerial,
		PortName:        guest.PortName,
		JournalPortName: guest.JournalPortName,
		SystemdPortName: guest.SystemdPortName,
	}
}

// close closes the files after an error.
func (f *Files) close() {
	for _, file := range []*os.File{f.Kernel, f.Root, f.Initrd} {
		file.Close() // a nil *os.File may be closed
	}
}

// buildInitrd returns the archive that boots an image with the agent in it, and without
// what is trimmed.
func buildInitrd(image *images.Image, agent []byte, trimmed []trim.Item) (*os.File, error) {
	const units = "systemd/system/"
	files := trim.Files(trimmed)
	files[units+guest.AgentUnitName] = guest.AgentUnit
	links := trim.Masks(trimmed)
	links[units+"sysinit.target.wants/"+guest.AgentUnitName] = "../" + guest.AgentUnitName
	return initrd.Build(initrd.Archive{
		Agent:      agent,
		ModulesDir: image.ModulesDir(),
		Modules:    image.Modules,
		Run:        files,
		RunLinks:   links,
	})
}
