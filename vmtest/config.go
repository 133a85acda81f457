package vmtest

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// Config says what machine is wanted. The zero value is a good one.
type Config struct {
	// Image is the name of a guest image, such as "debian-12", or the path of an
	// image folder, which has a slash. "" takes $VMTEST_IMAGE, and without that
	// images.Default.
	Image string

	// Hostname is the guest's host name, of letters, digits, hyphens and dots. "" is
	// the image's own.
	Hostname string

	// Memory of the guest in MiB. 0 is 512.
	Memory int

	// CPUs of the guest. 0 is 1, which under emulation gives the most tests a
	// minute on a host of few cores.
	CPUs int

	// KernelArgs are added to the kernel's command line.
	KernelArgs []string

	// ColdBoot boots the machine for this test, which takes a hundred times as long
	// as a fork of the snapshot that is kept for all.
	ColdBoot bool

	// Disk, when not nil, takes what the guest writes, which then outlives the
	// machine; else that is in RAM and goes with it. Such a machine is always booted
	// cold, for no snapshot has what is on a disk.
	Disk *Disk

	// Untrimmed boots the distribution's system as it is, with all that costs time
	// and does nothing in a virtual machine; "vmtest trim" lists what is left out
	// otherwise. $VMTEST_UNTRIMMED=1 does the same for all machines.
	Untrimmed bool

	// BootTimeout bounds the boot to systemd's "running". 0 is three minutes. Like
	// OpTimeout, it is stretched on a slow host; see the package's Deadlines.
	BootTimeout time.Duration

	// OpTimeout bounds each call of a Guest's method, so that a command or a wait
	// that hangs fails its test with evidence and leaves the others their time. 0
	// is two minutes. It does not count the build of a program on the host.
	OpTimeout time.Duration

	// Console, when not nil, gets all that the guest writes to its serial console,
	// as raw bytes.
	Console io.Writer

	// Progress is told of what takes a while, such as the build of the image. nil
	// prints what a person must know on stderr, a line each.
	Progress func(images.Progress)
}

const (
	defaultMemory      = 512
	minMemory          = 256
	defaultBootTimeout = 3 * time.Minute
	defaultOpTimeout   = 2 * time.Minute
)

// hostnames are those of hostname(7), or none.
var hostnames = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?)?$`)

// complete returns c with its defaults filled in.
func (c Config) complete() (Config, error) {
	if c.Progress == nil {
		c.Progress = progressPrinter(os.Stderr)
	}
	if c.Image == "" {
		c.Image = cmp.Or(os.Getenv("VMTEST_IMAGE"), images.Default)
		if !strings.Contains(c.Image, "/") && !slices.Contains(images.Names(), c.Image) {
			return c, fmt.Errorf("read VMTEST_IMAGE: %w", &images.UnknownImageError{Name: c.Image})
		}
	}
	c.Untrimmed = c.Untrimmed || os.Getenv("VMTEST_UNTRIMMED") == "1"
	c.ColdBoot = c.ColdBoot || c.Disk != nil
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	if c.Memory < minMemory {
		return c, fmt.Errorf("configure machine: %d MiB of memory do not boot a systemd guest; give it %d or more", c.Memory, minMemory)
	}
	if c.CPUs < 0 {
		return c, fmt.Errorf("configure machine: %d CPUs: must be 1 or more, or 0 for the default", c.CPUs)
	}
	if !hostnames.MatchString(c.Hostname) {
		return c, fmt.Errorf("configure machine: %q is no host name (hostname(7))", c.Hostname)
	}
	if _, err := deadline.Scale(); err != nil {
		return c, err
	}
	if c.BootTimeout == 0 {
		c.BootTimeout = defaultBootTimeout
	}
	if c.OpTimeout == 0 {
		c.OpTimeout = defaultOpTimeout
	}
	return c, nil
}
