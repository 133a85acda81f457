package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/boot"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/slots"
)

// emulator looks for QEMU and asks it for its version.
func emulator(ctx context.Context) Finding {
	path, version, err := qemu.Installed(ctx, runtime.GOARCH)
	if err != nil {
		f := of(Fault, err)
		f.Cure = cmp.Or(installation(func(t host.Tool) bool { return strings.HasPrefix(t.Command, "qemu-") }), f.Cure)
		return f
	}
	return Finding{State: OK, Found: version + ", " + path}
}

// emulated is what a host without KVM costs.
const emulated = ": guests are emulated, and take several times as long"

// kvm looks whether guests run under KVM. Only a guest's kernel can prove that, so it needs
// an image.
func kvm(ctx context.Context) Finding {
	if accel := os.Getenv("VMTEST_ACCEL"); accel == "tcg" {
		return Finding{State: Note, Found: "VMTEST_ACCEL=tcg" + emulated, Cure: "unset VMTEST_ACCEL"}
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Finding{State: Note, Found: "this host has no /dev/kvm" + emulated,
			Cure: "enable virtualization in the firmware, or nested virtualization where this is a virtual machine, and run modprobe kvm_intel or kvm_amd"}
	case errors.Is(err, fs.ErrPermission):
		return Finding{State: Note, Found: "this user may not open /dev/kvm" + emulated,
			Cure: "run sudo usermod --append --groups kvm $USER, and log in again"}
	case err != nil:
		return Finding{State: Note, Found: err.Error() + emulated}
	}
	f.Close()
	name, ok := anyImage()
	if !ok {
		return Finding{State: Note, Found: "/dev/kvm can be opened; whether it runs a guest is not known before there is an image",
			Cure: "run vmtest image build " + images.Default}
	}
	files, err := boot.Open(ctx, boot.Options{Image: images.Spec{Base: name}, Notice: func(string) {}})
	if err != nil {
		return of(Note, fmt.Errorf("try KVM with %s: %w", name, err))
	}
	if files.Accel != qemu.KVM {
		return Finding{State: Note, Found: files.KVMFault + emulated}
	}
	return Finding{State: OK, Found: "runs the kernel of " + name}
}

// anyImage returns the name of an image in the cache, the default one if it is there.
func anyImage() (name string, ok bool) {
	list, _ := images.List(images.Options{}) // see cache for the error
	i := slices.IndexFunc(list, func(m images.Manifest) bool { return m.Name == images.Default })
	if i < 0 {
		i = slices.IndexFunc(list, func(m images.Manifest) bool { return slices.Contains(images.Names(), m.Name) })
	}
	if i < 0 {
		return "", false
	}
	return list[i].Name, true
}

// guestMemory is the memory of a guest of the default configuration, in MiB.
const guestMemory = 512

// memory compares what is available with what guests take.
func memory(context.Context) Finding {
	n, err := slots.Limit()
	if err != nil {
		return Finding{State: Fault, Found: err.Error(), Cure: "unset VMTEST_SLOTS"}
	}
	available := slots.MemoryAvailable()
	each := guestMemory + slots.EmulatorMemory
	found := fmt.Sprintf("%d MiB available; %d guests may run at once, and take %d MiB each", available, n, each)
	switch {
	case available < each:
		return Finding{State: Fault, Found: found, Cure: "free some memory, or set Config.Memory to less"}
	case available < n*each:
		return Finding{State: Note, Found: found + ": fewer will run", Cure: "free some memory"}
	}
	return Finding{State: OK, Found: found}
}
