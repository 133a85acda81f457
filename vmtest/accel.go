package vmtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// probeTime bounds the trial of KVM. A kernel that KVM runs is up in a second; one
// that KVM can create but not run stalls before its first line.
const probeTime = 15 * time.Second

// accelVerdict is what is known of KVM on this host. It says it twice, so that a
// verdict that is torn or altered is not taken for the better one.
type accelVerdict struct {
	RunsKVM  bool   `json:"runsKVM"`
	KVMFault string `json:"kvmFault"` // why it does not
}

// readVerdict returns the verdict in a file, unless there is none or it makes no
// sense.
func readVerdict(path string) (v accelVerdict, ok bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return v, false
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if d.Decode(&v) != nil || v.RunsKVM != (v.KVMFault == "") {
		return accelVerdict{}, false
	}
	return v, true
}

// accelVerdicts keeps the verdicts of this process by digest of the image.
var accelVerdicts memo[string, accelVerdict]

// chooseAccel sets the accelerator for an image, as $VMTEST_ACCEL says: "kvm",
// "tcg", or by default "auto", which is KVM where it is proved to run this image's
// kernel and TCG elsewhere.
func (in *inputs) chooseAccel(ctx context.Context, notice func(string)) error {
	switch v := os.Getenv("VMTEST_ACCEL"); v {
	case "kvm", "tcg":
		in.accel = qemu.Accel(v)
		return nil
	case "", "auto":
	default:
		return fmt.Errorf("read VMTEST_ACCEL: %q is none of kvm, tcg and auto", v)
	}
	verdict, err := accelVerdicts.get(ctx, in.image.Digest, func() (accelVerdict, error) { return judgeKVM(ctx, in, notice) })
	if err != nil {
		return err
	}
	in.accel = qemu.KVM
	if !verdict.RunsKVM {
		in.accel, in.kvmFault = qemu.TCG, verdict.KVMFault
	}
	return nil
}

// saidTCG is for noticeTCG.
var saidTCG sync.Once

// noticeTCG says once in a process why guests are emulated, for who has not asked
// for that.
func (in *inputs) noticeTCG(config Config) {
	if in.kvmFault == "" {
		return
	}
	saidTCG.Do(func() {
		config.notice("guests are emulated (TCG), for " + in.kvmFault)
	})
}

// talkative tells whether a person wants to read more than what went wrong: go test
// without -v is quiet.
func talkative() bool {
	return !testing.Testing() || flag.Parsed() && testing.Verbose()
}

// judgeKVM looks the verdict up, or tries KVM and writes the verdict down. notice is
// told why the cache could not be cleaned up.
func judgeKVM(ctx context.Context, in *inputs, notice func(string)) (accelVerdict, error) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return accelVerdict{KVMFault: "this host has no /dev/kvm"}, nil
	case errors.Is(err, fs.ErrPermission):
		return accelVerdict{KVMFault: "this user may not open /dev/kvm"}, nil
	case err != nil:
		return accelVerdict{KVMFault: "KVM cannot be used: " + err.Error()}, nil
	}
	f.Close()
	path, err := verdictPath(in)
	if err != nil {
		return accelVerdict{}, err
	}
	if v, ok := readVerdict(path); ok {
		return v, nil
	}
	fault, final, err := tryKVM(ctx, in)
	v := accelVerdict{RunsKVM: fault == "", KVMFault: fault}
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
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return v, fmt.Errorf("keep verdict on KVM: %w", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return v, fmt.Errorf("keep verdict on KVM: %w", err)
	}
	if err := dropVerdicts(filepath.Dir(path), time.Now().Add(-keepUnused)); err != nil {
		notice(err.Error())
	}
	return v, nil
}

// dropVerdicts removes verdicts that were written before the given time. Most of them
// are of a boot that is over; one that is not is found out again.
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
	trial, cancel := within(ctx, limit{what: "the kernel did not come up", time: probeTime})
	defer cancel()
	select {
	case <-p.Done():
		<-read
		if data, _ := console.Bytes(); bytes.Contains(data, []byte(guest.ProbeAnswer)) {
			return "", true, nil
		}
		var exit *qemu.ExitError
		if errors.As(p.Err(), &exit) && exit.Stderr != "" {
			return "KVM runs no guest here: " + complaint(exit.Stderr), true, nil
		}
		return "KVM runs no guest here: " + p.Err().Error(), true, nil
	case <-trial.Done():
		if ctx.Err() != nil {
			return "", false, context.Cause(ctx)
		}
		return "KVM runs no guest here: " + context.Cause(trial).Error(), false, nil
	}
}

// complaint is the first thing that QEMU says, less that it is QEMU who says so.
func complaint(stderr string) string {
	first, _, _ := strings.Cut(stderr, "\n")
	_, text, named := strings.Cut(first, ": ")
	if !named {
		text = first
	}
	return tail.Printable(strings.TrimPrefix(text, "error: "))
}
