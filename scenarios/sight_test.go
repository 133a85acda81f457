package scenarios

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest"
)

const (
	noPrompt  = "nobody logs in on the console"
	whenAsked = "logind starts when it is asked"

	upkeep = "upkeep of disks, and questions that nobody answers"

	neverActs = `(systemd-(pcr(machine|phase|phase-sysinit|extend|lock)|tpm2-setup(-early)?|hibernate-clear|` +
		`boot-system-token|firstboot|machine-id-commit|pstore)\.(service|socket)|initrd(-[a-z-]+)?\.(target|service))`
	idle = `(dpkg-db-backup\.timer|e2scrub_all\.timer|e2scrub_reap\.service|fstrim\.timer|` +
		`systemd-ask-password-(console|wall)\.path)`
)

// accepted are the differences between a trimmed guest and an untrimmed one that
// units can see. Each has its reason; all else must be alike.
var accepted = []struct{ line, why string }{
	{`argument: (mitigations=off|norandmaps|systemd\.condition_needs_update=0|tsc=nowatchdog)`, "the kernel arguments of the list"},
	{`kernel: /sys/devices/system/cpu/vulnerabilities/`, "mitigations=off"},
	{`sysctl: /proc/sys/kernel/randomize_va_space:`, "norandmaps"},
	{`file: (/etc|/var)/\.updated `, "systemd.condition_needs_update=0 skips what leaves these stamps"},
	{`unit: (ldconfig|systemd-journal-catalog-update|systemd-update-done|systemd-sysusers|systemd-hwdb-update)\.service `, "systemd.condition_needs_update=0 skips them"},
	{`(file|mount|unit): .*\brun[-/]credentials[-/]systemd(-|\\x2d)sysusers\.service`, "a mount of systemd-sysusers.service before 253"},
	{`file: /var/cache/ldconfig/aux-cache `, "written by ldconfig.service"},
	{`unit(-file)?: ((serial-)?getty@|getty-static\.service )`, noPrompt},
	{`unit: system-(serial\\x2d)?getty\.slice `, noPrompt},
	{`unit: (getty-pre\.target|network-online\.target|rc-local\.service) .*inactive dead$`, "named by login prompts only"},
	{`(file: /run/agetty\.reload|file: /run/credentials/(serial-)?getty@|mount: .*/run/credentials/(serial-)?getty@)`, noPrompt},
	{`file: /run/systemd/generator/getty\.target\.wants`, noPrompt},
	{`unit: \S+ not-found inactive dead$`, "named by a masked unit, and not installed"},
	{`device: /dev/(ttyS0|tty1) `, noPrompt},
	{`device: (/dev/vcs|/dev/char/7:)`, "a login prompt opens a screen, which makes these nodes"},
	{`unit(-file)?: systemd-logind(\.service|-varlink\.socket) `, whenAsked},
	{`unit: (modprobe@drm\.service|user\.slice) `, whenAsked},
	{`file: /run/systemd/(inhibit|seats/seat0) `, whenAsked},
	{`file: /var/lib/systemd/linger `, whenAsked},
	{`file: (/var)?/tmp/systemd-private--systemd-logind`, whenAsked},
	{`unit: (dev-(vda|vport|disk-by|virtio)|sys-devices-\S+-(block-vda|virtio\\x2dports-vport))\S*\.device `, "the devices of the list"},
	{`file: /run/udev/rules\.d(/| )`, "the rule about these devices"},
	{`file: /run/systemd/journald\.conf\.d(/| )`, "journald leaves the kernel's audit as it is"},
	{`file: /run/systemd/system-generators(/| )`, "the masks themselves"},
	{`file: /run/systemd/system/(getty@tty1\.service|(getty|multi-user|sockets|sysinit)\.target\.wants|` +
		neverActs + `|` + idle + `)(/| )`, "the masks themselves"},
	{`unit(-file)?: ` + neverActs + ` `, "masked; inactive in both, because its condition fails"},
	{`unit(-file)?: ` + idle + ` `, upkeep},
	{`file: /var/lib/systemd/timers(/stamp-(dpkg-db-backup|e2scrub_all|fstrim)\.timer)? `, upkeep},
	{`file: /var/backups/`, "written by dpkg-db-backup.service, should a test run at midnight"},
	{`module: efi_pstore$`, "wanted by the masked systemd-pstore.service; does nothing without EFI"},
	{`unit: \S+ loaded inactive dead$`, "named by a masked unit, and inactive in both"},
}

// volatile are lines that differ between any two guests, or from one look to the next.
var volatile = regexp.MustCompile(`^(` + strings.Join([]string{
	`environment: (INVOCATION_ID|SYSTEMD_EXEC_PID|JOURNAL_STREAM)=`,
	// Counters, and sizes that follow from the memory that is free at boot.
	`sysctl: /proc/sys/(kernel/random/|kernel/(ns_last_pid|threads-max|pty/nr):|fs/(inode-|dentry-state|file-))`,
	`sysctl: /proc/sys/net/ipv4/(tcp_(mem|[rw]mem|max_[a-z_]+)|udp_mem|inet_peer_threshold):`,
	`sysctl: /proc/sys/(vm/((user|admin)_reserve|min_free)_kbytes:|user/max_|fs/(epoll|inotify|fanotify)/max_user_)`,
	`sysctl: /proc/sys/net/ipv[46]/(tcp_fastopen_key|.*stable_secret)`,
	`limits: Max (pending signals|processes) `,
	// Kept by systemd and udev under numbers that they draw.
	`file: /run/systemd/(units|journal/streams|propagate|transient)/`,
	`file: /run/udev/(data|tags|links|watch)/`,
	`file: /var/log/journal/`,
	`unit: session-.*\.scope `,
}, "|") + `)`)

// erased is what differs within a line between any two guests.
var erased = regexp.MustCompile(strings.Join([]string{
	`[0-9a-f]{32}`,
	`\.service-[0-9A-Za-z]{6}`,
	`(shared|master):[0-9]+ `,
	`,(size|nr_inodes)=[0-9]+k?`,
	`(fd|pgrp|pipe_ino)=[0-9]+`,
}, "|"))

// TestTrimmedSight compares what units see in a trimmed guest and in one with nothing
// left out: a service of root, one of a user who logs in, and one in a sandbox.
func TestTrimmedSight(t *testing.T) {
	t.Parallel()
	if os.Getenv("VMTEST_UNTRIMMED") == "1" {
		t.Skip("VMTEST_UNTRIMMED=1 leaves no trimmed guest to compare with; unset it")
	}
	whole := look(t, vmtest.Start(t, vmtest.Config{Untrimmed: true}))
	trimmed := look(t, vmtest.Start(t, vmtest.Config{}))
	for _, unit := range slices.Sorted(maps.Keys(whole)) {
		t.Run(unit, func(t *testing.T) {
			assert.Empty(t, without(trimmed[unit], whole[unit]), "seen only in the trimmed guest")
			assert.Empty(t, without(whole[unit], trimmed[unit]), "seen only in the untrimmed guest")
		})
	}
}

// look runs the services of testdata/sight in g and returns the lines that each one
// printed.
func look(t *testing.T, g *vmtest.Guest) map[string]map[string]bool {
	t.Helper()
	copyUnits(t, g, "testdata/sight")
	g.Copy(t, "testdata/sight/look", "/usr/local/bin/look")
	g.Copy(t, "testdata/sight/look.pam", "/etc/pam.d/look")
	g.Run(t, "udevadm", "settle")
	g.DaemonReload(t)
	seen := make(map[string]map[string]bool)
	for _, unit := range []string{"look-root", "look-user", "look-sandbox"} {
		if !assert.NoError(t, g.Machine.Unit(unit+".service").Start(t.Context())) {
			continue
		}
		lines := make(map[string]bool)
		for line := range strings.Lines(string(g.ReadFile(t, "/"+unit))) {
			line = strings.TrimRight(line, "\n")
			if !volatile.MatchString(line) {
				lines[erased.ReplaceAllString(line, "")] = true
			}
		}
		seen[unit] = lines
	}
	return seen
}

// without returns the lines of a that b lacks and that are not accepted, sorted.
func without(a, b map[string]bool) []string {
	var lines []string
	for line := range a {
		if !b[line] && !isAccepted(line) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

func isAccepted(line string) bool {
	for _, a := range accepted {
		if ok, err := regexp.MatchString("^"+a.line, line); err != nil {
			panic(err)
		} else if ok {
			return true
		}
	}
	return false
}
