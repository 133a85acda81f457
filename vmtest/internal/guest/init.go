package guest

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/u-root/u-root/pkg/kmodule"
	"github.com/u-root/u-root/pkg/mount"
	"golang.org/x/sys/unix"
)

// Paths inside the initrd, agreed between this init and the builder of the
// archive (package initrd).
const (
	// ConfigPath holds an InitConfig as JSON.
	ConfigPath = "/vmtest.json"
	// RunTree is a folder whose content goes to /run of the booted system:
	// the agent's unit, and whatever is masked.
	RunTree = "/vmtest-run"
	// AgentPath is where the agent lies in the booted system.
	AgentPath = "/run/vmtest/agent"
)

// InitConfig tells Init what this guest needs before its own init can run.
type InitConfig struct {
	// Modules are the kernel modules to load, in order, by name.
	Modules []string `json:"modules"`
}

// RootSerial is the serial number by which QEMU marks the disk that holds the
// image; imageDir is where the image is mounted, upperDir what the guest writes,
// newRoot the two together.
const (
	RootSerial = "vmtest-root"
	imageDir   = "/image"
	newRoot    = "/newroot"
	upperDir   = "/written/upper"
	deviceWait = 60 * time.Second
)

// Init is PID 1 of the initrd. It loads the modules that the root disk and the
// guest link need, mounts the image read-only under an overlay in RAM or on a disk
// of the machine's own, puts the agent and its unit under /run, and hands over to
// systemd. It returns only when something is wrong.
func Init() error {
	log.SetOutput(io.Discard) // mount.SwitchRoot logs each of its steps
	if err := mountAPI(); err != nil {
		return err
	}
	args, err := kernelArgs()
	if err != nil {
		return err
	}
	if slices.Contains(args, ProbeArg) {
		fmt.Fprintln(os.Stderr, ProbeAnswer)
		return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
	var cfg InitConfig
	data, err := os.ReadFile(ConfigPath)
	if err != nil {
		return fmt.Errorf("read init configuration: %w", err)
	}
	if err := json.Unmarshal(data, &cfg); err != nil {
		return fmt.Errorf("parse %s: %w", ConfigPath, err)
	}
	if err := loadModules(cfg.Modules); err != nil {
		return err
	}
	mountUpper := mountRAM
	if slices.Contains(args, DiskArg) {
		mountUpper = mountDisk
	}
	if err := mountRoot(mountUpper); err != nil {
		return err
	}
	if err := fillRun(); err != nil {
		return err
	}
	if err := giveMachineID(); err != nil {
		return err
	}
	if err := giveHosts(); err != nil {
		return err
	}
	return mount.SwitchRoot(newRoot, "/sbin/init")
}

// ProbeArg on the kernel's command line makes Init say ProbeAnswer and power off:
// the host wants to know whether a guest of this kernel runs at all.
const (
	ProbeArg    = "vmtest.probe"
	ProbeAnswer = "vmtest probe: the guest runs"
)

func kernelArgs() ([]string, error) {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, fmt.Errorf("read kernel command line: %w", err)
	}
	return strings.Fields(string(cmdline)), nil
}

func mountAPI() error {
	for _, m := range []struct{ source, target, fstype, data string }{
		{"devtmpfs", "/dev", "devtmpfs", "mode=0755"},
		{"proc", "/proc", "proc", ""},
		{"sysfs", "/sys", "sysfs", ""},
		{"tmpfs", "/run", "tmpfs", "mode=0755"},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return fmt.Errorf("make mount point %s: %w", m.target, err)
		}
		flags := uintptr(unix.MS_NOSUID)
		if m.fstype != "devtmpfs" {
			flags |= unix.MS_NODEV
		}
		if err := unix.Mount(m.source, m.target, m.fstype, flags, m.data); err != nil && err != unix.EBUSY {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return nil
}

func loadModules(names []string) error {
	prober, err := kmodule.NewProber(kmodule.ProbeOpts{})
	if err != nil {
		return fmt.Errorf("read module dependencies: %w", err)
	}
	for _, name := range names {
		if err := prober.Probe(name, ""); err != nil {
			return fmt.Errorf("load module %s: %w", name, err)
		}
	}
	return nil
}

// mountRoot lays what mountUpper mounts over the image. The layers' own mount points
// stay in the initrd's tree, out of the booted system's sight.
func mountRoot(mountUpper func(dir string) error) error {
	disk, err := waitDevice("the root disk", deviceWait, func() (string, bool) { return findDisk(RootSerial) })
	if err != nil {
		return err
	}
	writable := filepath.Dir(upperDir)
	for _, dir := range []string{imageDir, writable, newRoot} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make mount point %s: %w", dir, err)
		}
	}
	if err := unix.Mount(disk, imageDir, "squashfs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount image %s: %w", disk, err)
	}
	if err := mountUpper(writable); err != nil {
		return err
	}
	work := writable + "/work"
	for _, dir := range []string{upperDir, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make overlay folder %s: %w", dir, err)
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", imageDir, upperDir, work)
	if err := unix.Mount("overlay", newRoot, "overlay", 0, layers); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	return nil
}

func mountRAM(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755,size=80%"); err != nil {
		return fmt.Errorf("mount RAM for the overlay: %w", err)
	}
	return nil
}

// findDisk gives the device of the disk with a serial number.
func findDisk(serial string) (string, bool) {
	serials, err := filepath.Glob("/sys/block/*/serial")
	if err != nil {
		return "", false
	}
	for _, path := range serials {
		if data, err := os.ReadFile(path); err == nil && string(data) == serial {
			dev := "/dev/" + filepath.Base(filepath.Dir(path))
			_, err := os.Stat(dev)
			return dev, err == nil
		}
	}
	return "", false
}

// fillRun puts the agent and RunTree under /run, which moves along when the
// root is switched; systemd keeps a /run that is mounted already.
func fillRun() error {
	if err := os.MkdirAll(filepath.Dir(AgentPath), 0o755); err != nil {
		return fmt.Errorf("make agent folder: %w", err)
	}
	if err := copyFile("/init", AgentPath, 0o755); err != nil {
		return err
	}
	err := filepath.WalkDir(RunTree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(RunTree, path)
		if err != nil {
			return err
		}
		target := filepath.Join("/run", rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case d.Type() == fs.ModeSymlink:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		default:
			return copyFile(path, target, 0o644)
		}
	})
	if err != nil {
		return fmt.Errorf("fill /run: %w", err)
	}
	return nil
}

func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return fmt.Errorf("copy %s to %s: %w", from, to, err)
	}
	return out.Close()
}
