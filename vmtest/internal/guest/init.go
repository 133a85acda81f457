package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Paths inside the initrd, which package initrd fills.
const (
	// ConfigPath holds an InitConfig as JSON.
	ConfigPath = "/vmtest.json"
	// RunTree is a directory whose content goes to /run of the booted system: the
	// agent's unit, and links that mask other units.
	RunTree = "/vmtest-run"
	// AgentPath is the agent's place in the booted system.
	AgentPath = "/run/vmtest/agent"
)

// InitConfig is what a guest needs before its own init can run.
type InitConfig struct {
	// Modules are the names of the kernel modules to load, in this order.
	Modules []string `json:"modules"`
}

// ProbeArg on the kernel's command line makes Init print ProbeAnswer and power off.
// It shows that a guest of this kernel runs at all.
const (
	ProbeArg    = "vmtest.probe"
	ProbeAnswer = "vmtest probe: the guest runs"
)

// initrd is the system that Init works on. Tests give it another root and replace
// what only PID 1 may do.
type initrd struct {
	root       string // begins every path
	mount      func(source, target, fstype string, flags uintptr, data string) error
	initModule func(image []byte, params string) error
	await      func(what string, found func() (string, bool)) (string, error)
	enter      func(newRoot, init string) error
	powerOff   func() error
	console    *os.File
}

// Init is PID 1 of the initrd. It loads the modules that the root disk and the guest
// link need. It mounts the image read-only under an overlay, which is in RAM or on
// the machine's own disk. It puts the agent and its unit under /run and starts
// systemd in its own place. It returns only when one of these steps fails.
func Init() error {
	if os.Getpid() != 1 { // it would take the host's own files for an initrd's
		return errors.New("not PID 1")
	}
	return initrd{
		root:       "/",
		mount:      unix.Mount,
		initModule: unix.InitModule,
		await: func(what string, found func() (string, bool)) (string, error) {
			return waitDevice(context.Background(), what, found)
		},
		enter:    switchRoot,
		powerOff: func() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) },
		console:  os.Stderr,
	}.run()
}

func (i initrd) run() error {
	if err := i.mountAPI(); err != nil {
		return err
	}
	args, err := i.kernelArgs()
	if err != nil {
		return err
	}
	if slices.Contains(args, ProbeArg) {
		fmt.Fprintln(i.console, ProbeAnswer)
		return i.powerOff()
	}
	cfg, err := i.readConfig()
	if err != nil {
		return err
	}
	if err := i.loadModules("/", cfg.Modules...); err != nil {
		return err
	}
	mountUpper := i.mountRAM
	if slices.Contains(args, DiskArg) {
		mountUpper = i.mountDisk
	}
	if err := i.mountRoot(mountUpper); err != nil {
		return err
	}
	if err := i.loadPanicModules(); err != nil {
		return err
	}
	if err := i.fillRun(); err != nil {
		return err
	}
	if err := i.giveMachineID(); err != nil {
		return err
	}
	if err := i.giveHosts(); err != nil {
		return err
	}
	if err := i.clear(); err != nil {
		return err
	}
	fmt.Fprintln(i.console, HandOver)
	return i.enter(i.path(newRoot), "/sbin/init")
}

// path returns the place of a path of the initrd.
func (i initrd) path(p string) string { return filepath.Join(i.root, p) }

func (i initrd) kernelArgs() ([]string, error) {
	cmdline, err := os.ReadFile(i.path("/proc/cmdline"))
	if err != nil {
		return nil, fmt.Errorf("read kernel command line: %w", err)
	}
	return strings.Fields(string(cmdline)), nil
}

func (i initrd) readConfig() (InitConfig, error) {
	var cfg InitConfig
	data, err := os.ReadFile(i.path(ConfigPath))
	if err != nil {
		return cfg, fmt.Errorf("read init configuration: %w", err)
	}
	if err := json.Unmarshal(data, &cfg); err != nil {
		return cfg, fmt.Errorf("parse %s: %w", ConfigPath, err)
	}
	return cfg, nil
}

// clear removes the initrd's files, which take up RAM.
func (i initrd) clear() error {
	for _, p := range []string{initPath, "/lib", ConfigPath, RunTree} {
		if err := os.RemoveAll(i.path(p)); err != nil {
			return fmt.Errorf("clear initrd: %w", err)
		}
	}
	return nil
}
