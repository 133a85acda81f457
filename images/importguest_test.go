package images

import (
	"archive/tar"
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/rootfs"
)

func TestProgramVersion(t *testing.T) {
	for text, want := range map[string]string{
		"\x00systemd 247.3-7+deb11u5 running in %ssystem mode. (%s)\x00":     "247.3-7+deb11u5",
		"\x00systemd 257.13-1~deb13u1 running in %ssystem mode%s.\x00":       "257.13-1~deb13u1",
		"\x00libsystemd-shared-258.so\x00":                                   "258",
		"\x00libsystemd-core-257.7-1.fc42.so\x00systemd 1 running elsewhere": "257.7-1.fc42",
		"systemd of no version":                                              "",
	} {
		assert.Equal(t, want, programVersion([]byte(text)), "%q", text)
	}
}

func TestCompareVersions(t *testing.T) {
	ordered := []string{"", "5", "5.9.1", "5.10.0-32-cloud", "6.1", "6.1.0-rc2", "6.1.0-rc10", "6.9.1-arch1-1", "6.10.0"}
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			assert.Equal(t, want, compareVersions(a, b), "%q and %q", a, b)
		}
	}
}

func TestPlainFstab(t *testing.T) {
	const virtual = "# UUID=1 / ext4\n\nproc /proc proc\ntmpfs /scratch tmpfs size=1g\n/swapfile none swap\nshort\n"
	plain, cut := plainFstab(virtual)
	assert.Equal(t, virtual, plain)
	assert.Empty(t, cut)
	plain, cut = plainFstab("LABEL=efi /boot/efi vfat umask=0077 0 1\n/dev/vdb /a\x1b[31m ext4")
	assert.Equal(t, "# not in a test guest: LABEL=efi /boot/efi vfat umask=0077 0 1\n# not in a test guest: /dev/vdb /a\x1b[31m ext4", plain)
	for _, text := range cut {
		assertOneLine(t, text)
	}
	assert.Len(t, cut, 2)
}

// madeTree returns a tree with the entries.
func madeTree(t *testing.T, entries []entry) *rootfs.Tree {
	t.Helper()
	tree, err := rootfs.Read(t.Context(), writeSource(t, makeTar(t, entries)), rootfs.Options{Dir: t.TempDir(), Max: 2 << 20})
	require.NoError(t, err)
	t.Cleanup(tree.Close)
	return tree
}

// The guest's directories are what other code goes by instead of Debian's.
func TestExamineFindsDirectories(t *testing.T) {
	m, err := examine(t.Context(), madeTree(t, otherSystem(t)), runtime.GOARCH)
	require.NoError(t, err)
	assert.Equal(t, "/usr/bin", m.BinDir())
	m, err = examine(t.Context(), madeTree(t, append(otherSystem(t),
		entry{name: "bin", kind: tar.TypeSymlink, link: "usr/bin"},
		entry{name: "etc/systemd/system", kind: tar.TypeSymlink, link: "/usr/share/factory/units"})), runtime.GOARCH)
	require.NoError(t, err)
	assert.Equal(t, "/bin", m.BinDir())
	assert.Equal(t, "/run/systemd/system", m.UnitDir(), "/etc/systemd/system is a link")
	assert.True(t, m.RuntimeUnits())
}

// Texts of a guest are printed, so they have no control characters.
func TestExamineMakesTextsPrintable(t *testing.T) {
	const evil = "\x1b]0;title\x07"
	m, err := examine(t.Context(), madeTree(t, append(without(otherSystem(t), "etc/os-release"),
		entry{name: "etc/os-release", content: "PRETTY_NAME=\"a" + evil + "\"\nVERSION_ID=" + evil + "\n"},
		entry{name: "var/lib/dpkg/status", content: "Package: a" + evil + "\nStatus: install ok installed\nVersion: 1\n"})), runtime.GOARCH)
	require.NoError(t, err)
	require.NoError(t, m.checkText())
	assert.Len(t, m.Packages, 1)
}

// What the booted system mounts over, or writes to, cannot be a link to somewhere else.
func TestAdaptReplacesLinks(t *testing.T) {
	tree := madeTree(t, append(without(otherSystem(t), "run/utmp", "etc/machine-id"),
		entry{name: "run", kind: tar.TypeSymlink, link: "/var/elsewhere"},
		entry{name: "etc/machine-id", kind: tar.TypeSymlink, link: "/etc/passwd"}))
	_, err := adapt(tree)
	require.NoError(t, err)
	assert.False(t, tree.IsLink("run"))
	assert.False(t, tree.IsLink("etc/machine-id"))
	b, err := tree.ReadFile("etc/machine-id", 1)
	require.NoError(t, err)
	assert.Empty(t, b)
	assert.True(t, tree.Has("etc/systemd/system"))
}

func TestAdaptReportsWhatMayHinder(t *testing.T) {
	notes, err := adapt(madeTree(t, append(without(otherSystem(t), "etc/fstab", "usr/lib/systemd/system/default.target"),
		entry{name: "etc/selinux/config", content: "# SELINUX=disabled\nSELINUX=enforcing\n"},
		entry{name: "etc/systemd/system/network-online.target.wants/NetworkManager-wait-online.service", kind: tar.TypeSymlink, link: "/x"})))
	require.NoError(t, err)
	require.Len(t, notes, 3)
	assert.Contains(t, notes[0], "no default.target")
	assert.Contains(t, notes[1], "SELinux is enforcing")
	assert.Contains(t, notes[2], "waits for a network")
	notes, err = adapt(madeTree(t, append(without(otherSystem(t), "etc/fstab"),
		entry{name: "etc/systemd/system/network-online.target.wants/NetworkManager-wait-online.service", kind: tar.TypeSymlink, link: "/x"},
		entry{name: "etc/systemd/system/NetworkManager-wait-online.service", kind: tar.TypeSymlink, link: "/dev/null"})))
	require.NoError(t, err)
	assert.Empty(t, notes, "it is masked, as the note tells one to")
}

// Hard links make a large database of a small archive.
func TestExamineBoundsTheDatabase(t *testing.T) {
	const first = "var/lib/pacman/local/a-1/desc"
	entries := append(otherSystem(t), entry{name: first, content: "%NAME%\na\n" + strings.Repeat("x", 1<<20-100)})
	for i := range maxDatabase >> 20 {
		entries = append(entries, entry{name: fmt.Sprintf("var/lib/pacman/local/b-%d/desc", i), kind: tar.TypeLink, link: first})
	}
	tree := madeTree(t, entries)
	_, err := examine(t.Context(), madeTree(t, entries[:len(entries)-2]), runtime.GOARCH)
	require.NoError(t, err)
	_, err = examine(t.Context(), tree, runtime.GOARCH)
	require.ErrorAs(t, err, new(*ImportError))
	assert.ErrorContains(t, err, "the packages in /var/lib/pacman/local are described by more than 64 MiB")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = examine(ctx, tree, runtime.GOARCH)
	require.ErrorIs(t, err, context.Canceled)
}
