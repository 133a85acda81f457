// Package accel chooses what executes a guest's instructions: KVM where it is shown to
// run the guest's kernel, and emulation elsewhere.
package accel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/memo"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// probeTime bounds the trial of KVM. A kernel that KVM runs is up in a second. A KVM
// that creates a machine but cannot run it stalls before the kernel's first line.
const probeTime = 15 * time.Second

// keepVerdicts is how long the cache keeps a verdict.
const keepVerdicts = 30 * 24 * time.Hour

// verdict is what a trial of KVM on this host found. KVMFault is "" exactly if RunsKVM, so
// that a damaged file does not pass for the other verdict.
type verdict struct {
	RunsKVM  bool   `json:"runsKVM"`
	KVMFault string `json:"kvmFault"` // why it does not
}

// readVerdict returns the verdict in a file. ok is false if there is none or the file is
// damaged.
func readVerdict(path string) (v verdict, ok bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return v, false
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if d.Decode(&v) != nil || v.RunsKVM != (v.KVMFault == "") {
		return verdict{}, false
	}
	return v, true
}

// verdicts keeps the verdicts of this process by digest of the image.
var verdicts memo.Memo[string, verdict]

// Choose returns the accelerator for machine, which runs the kernel of the image with
// that digest. $VMTEST_ACCEL names it: "kvm", "tcg", or by default "auto", which is KVM
// if it runs this kernel and TCG otherwise. kvmFault says why auto did not take KVM.
// Choose calls notice with the reason if it could not clean up the cache.
func Choose(ctx context.Context, machine qemu.Machine, digest string, notice func(string)) (accel qemu.Accel, kvmFault string, err error) {
	switch v := os.Getenv("VMTEST_ACCEL"); v {
	case "kvm", "tcg":
		return qemu.Accel(v), "", nil
	case "", "auto":
	default:
		return "", "", fmt.Errorf("read VMTEST_ACCEL: %q is not kvm, tcg or auto", v)
	}
	p := probe{machine: machine, digest: digest}
	p.machine.Accel = qemu.KVM
	p.machine.Cmdline = slices.Concat(machine.Cmdline, []string{guest.ProbeArg})
	v, err := verdicts.Get(ctx, digest, func() (verdict, error) { return p.judge(ctx, notice) })
	if err != nil {
		return "", "", err
	}
	if v.RunsKVM {
		return qemu.KVM, "", nil
	}
	return qemu.TCG, v.KVMFault, nil
}

// probe is a trial of KVM.
type probe struct {
	machine qemu.Machine // which powers off once its kernel runs
	digest  string       // of the image
}

// judge reads the verdict from the cache, or tries KVM and writes the verdict there.
func (p probe) judge(ctx context.Context, notice func(string)) (verdict, error) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return verdict{KVMFault: "this host has no /dev/kvm"}, nil
	case errors.Is(err, fs.ErrPermission):
		return verdict{KVMFault: "this user may not open /dev/kvm"}, nil
	case err != nil:
		return verdict{KVMFault: "KVM cannot be used: " + err.Error()}, nil
	}
	f.Close()
	path, err := p.path()
	if err != nil {
		return verdict{}, err
	}
	if v, ok := readVerdict(path); ok {
		return v, nil
	}
	fault, final, err := p.run(ctx)
	v := verdict{RunsKVM: fault == "", KVMFault: fault}
	if err != nil {
		return v, err
	}
	if !final {
		return v, nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return v, err
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return v, fmt.Errorf("keep verdict on KVM: %w", err)
	}
	if err := dropVerdicts(filepath.Dir(path), time.Now().Add(-keepVerdicts)); err != nil {
		notice(err.Error())
	}
	return v, nil
}

// dropVerdicts removes verdicts that were written before the given time. Most of them
// are of an earlier boot of the host; any other is found again.
func dropVerdicts(dir string, before time.Time) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("drop old verdicts on KVM: %w", err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err == nil && info.ModTime().Before(before) {
			err = os.Remove(filepath.Join(dir, f.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("drop old verdicts on KVM: %w", err)
		}
	}
	return nil
}

// path returns the file of the verdict. Its name has all that the verdict depends on:
// this boot of the host, this QEMU, this kernel.
func (p probe) path() (string, error) {
	dir, err := host.Cache("accel")
	if err != nil {
		return "", err
	}
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the host's boot ID: %w", err)
	}
	emulator, args, err := qemu.Fingerprint(p.machine)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(strings.Join(append(args, emulator, string(bootID), p.digest), "\x00")))
	return filepath.Join(dir, hex.EncodeToString(sum[:16])+".json"), nil
}

// run boots the image's kernel as far as the initrd and returns what went wrong. final
// is false if another trial may end otherwise: on a busy host, or without memory. Opening the
// device or creating a machine is no proof: hosts that are virtual machines themselves
// often have a KVM that does both and runs no guest.
func (p probe) run(ctx context.Context) (fault string, final bool, err error) {
	process, err := qemu.Start(p.machine)
	if err != nil {
		return "", false, err
	}
	defer process.Kill()
	console := tail.NewBuffer(64 << 10)
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(console, process.Console)
	}()
	trial, cancel := deadline.Within(ctx, deadline.Limit{What: "the kernel did not come up", Time: probeTime})
	defer cancel()
	select {
	case <-process.Done():
		<-read
		if data, _ := console.Bytes(); bytes.Contains(data, []byte(guest.ProbeAnswer)) {
			return "", true, nil
		}
		var exit *qemu.ExitError
		if errors.As(process.Err(), &exit) && exit.Stderr != "" {
			return "KVM runs no guest here: " + complaint(exit.Stderr), isFinal(exit), nil
		}
		return "KVM runs no guest here: " + process.Err().Error(), isFinal(exit), nil
	case <-trial.Done():
		if ctx.Err() != nil {
			return "", false, context.Cause(ctx)
		}
		return "KVM runs no guest here: " + context.Cause(trial).Error(), false, nil
	}
}

// isFinal reports whether QEMU would exit in the same way again. It may not if it was
// killed, as for lack of memory, or reported that it got none. A KVM that fails makes QEMU
// abort, which is final.
func isFinal(exit *qemu.ExitError) bool {
	if exit == nil {
		return true
	}
	status, ok := exit.State.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() && status.Signal() != syscall.SIGABRT {
		return false
	}
	return !strings.Contains(strings.ToLower(exit.Stderr), syscall.ENOMEM.Error())
}

// complaint returns the first line that QEMU printed, without QEMU's own name.
func complaint(stderr string) string {
	first, _, _ := strings.Cut(stderr, "\n")
	_, text, named := strings.Cut(first, ": ")
	if !named {
		text = first
	}
	return tail.Printable(strings.TrimPrefix(text, "error: "))
}
