package vmtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/tail"
)

// probeTime bounds the trial of KVM. A kernel that KVM runs is up in a second; one
// that KVM can create but not run stalls before its first line.
const probeTime = 15 * time.Second

// accelVerdict is what is known of KVM on this host: "" when it runs guests, or
// why it does not.
type accelVerdict struct {
	KVMFault string `json:"kvmFault"`
}

// accelVerdicts keeps the verdicts of this process by digest of the image, so that
// each is said once.
var accelVerdicts memo[string, qemu.Accel]

// chooseAccel returns the accelerator for an image, as $VMTEST_ACCEL says: "kvm",
// "tcg", or by default "auto", which is KVM where it is proved to run this image's
// kernel and TCG elsewhere.
func chooseAccel(ctx context.Context, config Config, in *inputs) (qemu.Accel, error) {
	switch v := os.Getenv("VMTEST_ACCEL"); v {
	case "kvm", "tcg":
		return qemu.Accel(v), nil
	case "", "auto":
	default:
		return "", fmt.Errorf("read VMTEST_ACCEL: %q is none of kvm, tcg and auto", v)
	}
	return accelVerdicts.get(ctx, in.image.Digest, func() (qemu.Accel, error) {
		verdict, err := judgeKVM(ctx, in)
		if err != nil {
			return "", err
		}
		if verdict.KVMFault == "" {
			return qemu.KVM, nil
		}
		config.Progress(images.Progress{Notice: true, Text: "running guests by emulation (TCG): " + verdict.KVMFault})
		return qemu.TCG, nil
	})
}

// judgeKVM looks the verdict up, or tries KVM and writes the verdict down.
func judgeKVM(ctx context.Context, in *inputs) (accelVerdict, error) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return accelVerdict{KVMFault: "KVM cannot be used: " + err.Error()}, nil
	}
	f.Close()
	path, err := verdictPath(in)
	if err != nil {
		return accelVerdict{}, err
	}
	var v accelVerdict
	if data, err := os.ReadFile(path); err == nil && json.Unmarshal(data, &v) == nil {
		return v, nil
	}
	fault, final, err := tryKVM(ctx, in)
	if err != nil {
		return v, err
	}
	v.KVMFault = fault
	if !final {
		return v, nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return v, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return v, fmt.Errorf("keep verdict on KVM: %w", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return v, fmt.Errorf("keep verdict on KVM: %w", err)
	}
	return v, nil
}

// verdictPath names the verdict by all that it holds for: this boot of the host,
// this QEMU, this kernel.
func verdictPath(in *inputs) (string, error) {
	cache, err := images.CacheDir()
	if err != nil {
		return "", err
	}
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the host's boot ID: %w", err)
	}
	emulator, args, err := qemu.Fingerprint(probeMachine(in))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(strings.Join(append(args, emulator, string(bootID), in.image.Digest), "\x00")))
	return filepath.Join(cache, "accel", hex.EncodeToString(sum[:16])+".json"), nil
}

func probeMachine(in *inputs) qemu.Machine {
	d := description(Config{Memory: minMemory}, in)
	d.Accel = qemu.KVM
	d.Cmdline = append(d.Cmdline, guest.ProbeArg)
	return d
}

// tryKVM runs the image's own kernel to the initrd and returns what went wrong, and
// whether that is final: a trial that took too long may have met a busy host. To
// open the device or to create a machine proves nothing: hosts that are virtual
// machines themselves often offer a KVM that does both and runs no guest.
func tryKVM(ctx context.Context, in *inputs) (fault string, final bool, err error) {
	p, err := qemu.Start(probeMachine(in))
	if err != nil {
		return "", false, err
	}
	defer p.Kill()
	console := tail.NewBuffer(consoleKept)
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(console, p.Console)
	}()
	select {
	case <-p.Done():
		<-read
		if data, _ := console.Bytes(); bytes.Contains(data, []byte(guest.ProbeAnswer)) {
			return "", true, nil
		}
		var exit *qemu.ExitError
		if errors.As(p.Err(), &exit) && exit.Stderr != "" {
			first, _, _ := strings.Cut(exit.Stderr, "\n")
			return "KVM runs no guest here: " + tail.Printable(first), true, nil
		}
		return "KVM runs no guest here: " + p.Err().Error(), true, nil
	case <-time.After(probeTime):
		return fmt.Sprintf("KVM runs no guest here: the kernel did not come up within %v", probeTime), false, nil
	case <-ctx.Done():
		return "", false, context.Cause(ctx)
	}
}
