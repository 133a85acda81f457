package vmtest

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// Config describes a machine. Its zero value is a Debian guest that is right for most
// tests.
type Config struct {
	// Image is the name of a guest image, such as "debian-12" or one that was imported, or
	// a path, which must contain a slash, of an image directory or of the file of an
	// images.Recipe. "" is the image of the subtest of EachImage, or the first one of
	// $VMTEST_IMAGE, or images.Default if that is not set.
	Image string

	// Recipe, if not nil, describes an image that this module does not name. Then Image
	// is "", and $VMTEST_IMAGE does not matter.
	Recipe *images.Recipe

	// Packages are added to the image, with their dependencies but without what they
	// only recommend: NAME, NAME=VERSION or NAME/SUITE, as apt-get(8) takes them. Neither
	// order nor duplicates matter. The first use builds an image with them, in about a
	// minute, and the cache keeps it until it is unused for a month. An image that was
	// imported, or the path of an image directory, takes neither Packages nor Debs,
	// NoAutostart and Sources.
	Packages []string

	// Debs are the paths of package files (.deb) to install, such as the author's own,
	// after what they depend on. A path is relative to the working directory, which for a
	// test is that of its package. A file that has changed makes a new image on top of a
	// cached one, in seconds.
	Debs []string

	// NoAutostart leaves the units of added packages disabled, those of users too, for a
	// test that starts or enables them itself. Otherwise they are as the distribution
	// leaves them, which for Debian means enabled: they have started with the machine.
	// Links that a package ships below /usr are part of it and stay.
	NoAutostart bool

	// Sources are further archives that packages come from, such as a company's.
	Sources []images.Source

	// Hostname is the guest's host name, of letters, digits, hyphens and dots. "" is
	// the image's own.
	Hostname string

	// Clock is what the guest's wall clock shows at its start, from 1970 to 2232. Its zero
	// value is the host's time. A fork's clock is stepped to it from when the snapshot was made,
	// so timers whose time came in between elapse at once (OnCalendar= of systemd.timer(5)). A
	// machine that boots begins with it, unless that is before its systemd was built.
	Clock time.Time

	// Memory is the guest's memory in MiB, at least 256. 0 is 512.
	Memory int

	// CPUs is the number of the guest's processors. 0 is 1. Under emulation, one gives
	// the most tests a minute on a host with few cores.
	CPUs int

	// Networks are those that the machine is in, by its interfaces eth0, eth1 and so on. It
	// has addresses there, and names for the other machines, when it has started. Without any
	// it has loopback alone.
	Networks []*Network

	// NICs is the number of network interfaces, up to 8, if it is more than Networks has: the
	// rest are for Join.
	NICs int

	// KernelArgs are added to the kernel's command line, such as "systemd.unit=a.target".
	KernelArgs []string

	// ColdBoot boots the machine for this test, which takes a hundred times as long as
	// a fork of the snapshot in the cache.
	ColdBoot bool

	// Disk, if not nil, takes what the guest writes, and outlives the machine. If it is
	// nil, that is in RAM and lost with the machine. A machine with a Disk always boots
	// cold, because a snapshot has no disk.
	Disk *Disk

	// Untrimmed boots the distribution's system with nothing switched off. "vmtest trim"
	// lists what other guests leave out, and why: generators, units and kernel features.
	// $VMTEST_UNTRIMMED=1 sets it for all machines.
	Untrimmed bool

	// BootTimeout bounds a boot, a fork and a reboot, until systemd is "running". 0 is
	// three minutes. See Timeouts in the package's documentation.
	BootTimeout time.Duration

	// OpTimeout bounds each call of a Guest's method, so that a command or a wait that
	// hangs fails its own test only. 0 is two minutes. It does not bound the build of a
	// program on the host. See Timeouts in the package's documentation.
	OpTimeout time.Duration

	// LogUnexpected makes a test log what is unexpected in its guest at its end, instead of
	// failing; see Machine.Unexpected. $VMTEST_LOG_UNEXPECTED=1 sets it for all machines.
	LogUnexpected bool

	// Console, if not nil, gets all that the guest writes to its serial console, as raw
	// bytes. Its Write is called on a goroutine of its own. A Write that blocks blocks
	// the guest, and one that fails gets no more.
	Console io.Writer

	// Progress, if not nil, is called while something takes long, such as the build of
	// an image. If it is nil, what a person must know is printed on stderr.
	Progress func(images.Progress)

	network string // addresses and names for the guest, see inNetworks
}

const (
	defaultMemory      = 512
	minMemory          = 256
	defaultBootTimeout = 3 * time.Minute
	defaultOpTimeout   = 2 * time.Minute
)

// hostnames matches those of hostname(7), or none.
var hostnames = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?)?$`)

// complete returns c with its defaults filled in.
func (c Config) complete() (Config, error) {
	if c.Progress == nil {
		c.Progress = progressPrinter(os.Stderr)
	}
	if c.Image == "" && c.Recipe == nil {
		names, err := imagesOfRun()
		if err != nil {
			return c, err
		}
		c.Image = names[0]
	}
	c.Untrimmed = c.Untrimmed || os.Getenv("VMTEST_UNTRIMMED") == "1"
	c.LogUnexpected = c.LogUnexpected || os.Getenv("VMTEST_LOG_UNEXPECTED") == "1"
	c.ColdBoot = c.ColdBoot || c.Disk != nil
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	if c.Memory < minMemory {
		return c, fmt.Errorf("configure machine: %d MiB of memory: must be %d or more", c.Memory, minMemory)
	}
	if c.CPUs < 0 {
		return c, fmt.Errorf("configure machine: %d CPUs: must be 1 or more, or 0 for the default", c.CPUs)
	}
	if c.NICs = max(c.NICs, len(c.Networks)); c.NICs > qemu.MaxNICs {
		return c, fmt.Errorf("configure machine: %d network interfaces: must be %d or fewer", c.NICs, qemu.MaxNICs)
	}
	if !hostnames.MatchString(c.Hostname) {
		return c, fmt.Errorf("configure machine: %q is not a host name (hostname(7))", c.Hostname)
	}
	if err := c.checkClock(); err != nil {
		return c, err
	}
	if c.BootTimeout < 0 || c.OpTimeout < 0 {
		return c, fmt.Errorf("configure machine: timeouts of %v and %v: must be above 0, or 0 for the default", c.BootTimeout, c.OpTimeout)
	}
	if _, err := deadline.Scale(); err != nil {
		return c, err
	}
	if err := checkCoverDir(); err != nil {
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
