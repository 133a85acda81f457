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
	"example.org/systemd-vmtest/vmtest/internal/gobuild"
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
	switch accel := os.Getenv("VMTEST_ACCEL"); accel {
	case "", "auto":
		return tried(ctx, openKVM())
	case "kvm":
		return forced(openKVM())
	case "tcg":
		return Finding{State: Note, Found: "VMTEST_ACCEL=tcg" + emulated, Cure: unsetAccel}
	default:
		return Finding{State: Fault, Found: fmt.Sprintf("VMTEST_ACCEL is %q, not kvm, tcg or auto", accel), Cure: unsetAccel}
	}
}

const unsetAccel = "unset VMTEST_ACCEL"

// openKVM opens the device, and returns the *host.Error if that cannot be done.
func openKVM() error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &host.Error{Cause: "this host has no /dev/kvm", Check: host.KVM, Err: err,
			Cure: "enable virtualization in the firmware, or nested virtualization where this is a virtual machine, and run modprobe kvm_intel or kvm_amd"}
	case errors.Is(err, fs.ErrPermission):
		return &host.Error{Cause: "this user may not open /dev/kvm", Check: host.KVM, Err: err,
			Cure: "run sudo usermod --append --groups kvm $USER, and log in again"}
	case err != nil:
		return err
	}
	return f.Close()
}

// forced returns the finding where VMTEST_ACCEL=kvm skips the trial.
func forced(err error) Finding {
	if err != nil {
		f := of(Fault, err)
		f.Found, f.Cure = "VMTEST_ACCEL=kvm, but "+f.Found, unsetAccel
		return f
	}
	return Finding{State: Note, Found: "VMTEST_ACCEL=kvm: not tried whether it runs a guest", Cure: unsetAccel + ", and run vmtest doctor again"}
}

// tried returns the finding of a trial with an image, unless the device cannot be opened.
func tried(ctx context.Context, err error) Finding {
	if err != nil {
		f := of(Note, err)
		f.Found += emulated
		return f
	}
	name, ok := anyImage()
	if !ok {
		return Finding{State: Note, Found: "/dev/kvm can be opened; whether it runs a guest is not known before there is an image",
			Cure: "run vmtest image build " + images.Default}
	}
	return try(ctx, name)
}

// try tries KVM with an image. The trial needs an agent too.
func try(ctx context.Context, name string) Finding {
	if _, err := gobuild.Agent(ctx, runtime.GOARCH, func(string) {}); err != nil && ctx.Err() == nil {
		return Finding{State: Note, Found: "not tried: see " + string(host.Agent)}
	}
	files, err := boot.Open(ctx, boot.Options{Image: images.Spec{Base: name}, Notice: func(string) {}})
	switch {
	case ctx.Err() != nil:
		return Finding{State: Note, Found: context.Cause(ctx).Error()}
	case err != nil:
		return untried(name, err)
	case files.Accel != qemu.KVM:
		return Finding{State: Note, Found: strings.TrimPrefix(files.KVMFault, "KVM ") + emulated}
	}
	return Finding{State: OK, Found: "runs the kernel of " + name}
}

// untried returns the finding for an error that kept KVM from being tried with an image.
func untried(name string, err error) Finding {
	if check, ok := other(host.KVM, err); ok {
		return Finding{State: Note, Found: "not tried: see " + string(check)} // which is a fault if no guest runs
	}
	return of(Fault, fmt.Errorf("try KVM with %s: %w", name, err))
}

// other returns the line that an error is about, if that is another one than check.
func other(check host.Check, err error) (_ host.Check, ok bool) {
	lacking, ok := errors.AsType[*host.Error](err)
	if !ok || lacking.Check == "" || lacking.Check == check {
		return "", false
	}
	return lacking.Check, true
}

// agent looks whether there is an agent for guests, and builds it if not.
func agent(ctx context.Context) Finding {
	data, err := gobuild.Agent(ctx, runtime.GOARCH, func(string) {})
	if err == nil {
		return Finding{State: OK, Found: fmt.Sprintf("an executable of %.1f MB", float64(len(data))/1e6)}
	}
	if check, ok := other(host.Agent, err); ok {
		return Finding{State: Fault, Found: "not built: see " + string(check)}
	}
	f := of(Fault, err)
	if f.Cure != "" {
		return f
	}
	f.Cure = "install vmtest with CGO_ENABLED=0, and run it outside this module"
	for _, name := range []string{"VMTEST_GO_PREBUILT", "VMTEST_AGENT"} {
		if os.Getenv(name) != "" {
			f.Cure = "unset " + name
		}
	}
	return f
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
	found := fmt.Sprintf("%d MiB available; %s may run at once, each with %d MiB", available, count(n, "guest"), each)
	switch {
	case available < each:
		// One guest is started whatever there is (slots.Queue).
		return Finding{State: Note, Found: found + ": one will run at a time, and the kernel may kill it", Cure: "free some memory, or set Config.Memory to less"}
	case available < n*each:
		return Finding{State: Note, Found: found + ": fewer will run", Cure: "free some memory"}
	}
	return Finding{State: OK, Found: found}
}
