package scenarios

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest"
)

// A derivative of Debian with an archive, a key, components, a kernel package and an
// os-release of its own is a guest by its recipe. It is made here of Debian's packages.
func TestDerivative(t *testing.T) {
	hostSide(t)
	if os.Getenv("VMTEST_BUILD_IMAGES") != "1" {
		t.Skip("builds an image from packages, for minutes and with a network: set VMTEST_BUILD_IMAGES=1 to run it")
	}
	a := newDerivative(t)
	server := httptest.NewServer(http.FileServer(http.Dir(a.dir)))
	defer server.Close()
	t.Setenv("VMTEST_MIRROR", "")
	t.Setenv("VMTEST_CACHE", t.TempDir())
	recipe := images.Recipe{
		Name: "norbert-1", Suite: "norbert", Components: []string{"main"},
		Mirror: server.URL, Keyring: a.keyring, Kernel: "linux-image-norbert",
	}
	config := vmtest.Config{Recipe: &recipe, Packages: []string{"rpcbind"}}
	_, err := vmtest.Launch(t.Context(), config)
	require.ErrorAs(t, err, new(*images.BuildError))
	require.ErrorContains(t, err, "Unable to locate package rpcbind", "which is in universe")

	recipe.Components = []string{"main", "universe"}
	g := vmtest.Start(t, config)
	i := g.Machine.Image()
	assert.Equal(t, "norbert-1 with rpcbind", i.Title())
	assert.Equal(t, "norbert", i.Suite)
	assert.Equal(t, "Norbert 1", i.Distribution)
	assert.Contains(t, i.Packages, images.Package{Name: "linux-image-norbert", Version: "1", Arch: runtime.GOARCH})
	assert.Equal(t, "norbert\n", g.Run(t, "sh", "-c", ". /etc/os-release; echo $ID"))
	assertRunning(t, g)
	assertShow(t, g, "rpcbind.socket", properties{"UnitFileState": "enabled", "ActiveState": "active"})
}

// derivative is an archive of packages.
type derivative struct{ dir, keyring string }

// fetchDebian downloads what a guest with rpcbind is made of. The packages are in the tree's
// cache of apt-get(8) afterwards.
const fetchDebian = `set -eu
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
cd "$1"
apt-get update >&2
apt-get --yes --download-only install '?and(?essential,?archive(stable))' systemd systemd-sysv dbus udev kmod iproute2 \
	netcat-openbsd netbase libseccomp2 rpcbind "linux-image-cloud-$(dpkg --print-architecture)" >&2`

func newDerivative(t *testing.T) derivative {
	t.Helper()
	a := derivative{t.TempDir(), filepath.Join(t.TempDir(), "norbert.gpg")}
	debs := t.TempDir()
	args := []string{"--mode=unshare", "--variant=custom", "--format=null", "--setup-hook=" + fetchDebian,
		"--setup-hook=copy-out /var/cache/apt/archives " + debs, "trixie", "/dev/null"}
	if mirror := os.Getenv("VMTEST_MIRROR"); mirror != "" {
		args = append(args, mirror)
	}
	onHost(t, "mmdebstrap", args...)
	list, err := filepath.Glob(filepath.Join(debs, "archives", "*.deb"))
	require.NoError(t, err)
	require.NotEmpty(t, list)
	lists := map[string]*strings.Builder{"main": {}, "universe": {}}
	for _, path := range list {
		name, _, _ := strings.Cut(filepath.Base(path), "_")
		component := "main"
		switch {
		case name == "base-files":
			path = rebrand(t, path)
		case name == "rpcbind":
			component = "universe"
		case strings.HasPrefix(name, "linux-image-cloud-"):
			lists[component].WriteString(a.add(t, component, kernelOf(t, name)))
		}
		lists[component].WriteString(a.add(t, component, path))
	}
	release := fmt.Sprintf("Origin: Norbert\nSuite: norbert\nCodename: norbert\nDate: Sat, 01 Jan 2022 00:00:00 UTC\n"+
		"Architectures: %s\nComponents: main universe\nSHA256:\n", runtime.GOARCH)
	for component, list := range lists {
		path := component + "/binary-" + runtime.GOARCH + "/Packages"
		a.write(t, "dists/norbert/"+path, []byte(list.String()))
		release += fmt.Sprintf(" %x %d %s\n", sha256.Sum256([]byte(list.String())), list.Len(), path)
	}
	a.write(t, "dists/norbert/Release", []byte(release))
	home := t.TempDir()
	require.NoError(t, os.Chmod(home, 0o700))
	gpg := func(args ...string) {
		onHost(t, "gpg", append([]string{"--homedir", home, "--batch", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
	}
	gpg("--quick-generate-key", "norbert@example.org", "rsa2048", "sign", "never")
	gpg("--output", a.keyring, "--export")
	gpg("--clearsign", "--output", filepath.Join(a.dir, "dists/norbert/InRelease"), filepath.Join(a.dir, "dists/norbert/Release"))
	t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() })
	return a
}

// add puts a package into the archive and returns its entry.
func (a derivative) add(t *testing.T, component, path string) string {
	t.Helper()
	control := onHost(t, "dpkg-deb", "-f", path)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	file := "pool/" + component + "/" + strings.ReplaceAll(filepath.Base(path), "%", "_")
	a.write(t, file, data)
	return fmt.Sprintf("%s\nFilename: %s\nSize: %d\nSHA256: %x\n\n", strings.TrimSpace(control), file, len(data), sha256.Sum256(data))
}

func (a derivative) write(t *testing.T, path string, data []byte) {
	t.Helper()
	path = filepath.Join(a.dir, path)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, data, 0o644))
}

// rebrand returns the package base-files of the derivative.
func rebrand(t *testing.T, debian string) string {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "tree")
	onHost(t, "dpkg-deb", "-R", debian, tree)
	release := filepath.Join(tree, "usr/lib/os-release")
	require.FileExists(t, release)
	require.NoError(t, os.WriteFile(release, []byte("PRETTY_NAME=\"Norbert 1\"\nNAME=Norbert\nID=norbert\nID_LIKE=debian\nVERSION_ID=1\n"), 0o644))
	control := filepath.Join(tree, "DEBIAN/control")
	text, err := os.ReadFile(control)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(control, bytes.Replace(text, []byte("\nVersion: "), []byte("\nVersion: 99norbert"), 1), 0o644))
	path := filepath.Join(t.TempDir(), "base-files_norbert.deb")
	onHost(t, "dpkg-deb", "--root-owner-group", "-b", tree, path)
	return path
}

// kernelOf returns a package that has the kernel of Debian's package.
func kernelOf(t *testing.T, debian string) string {
	t.Helper()
	tree := t.TempDir()
	require.NoError(t, os.Chmod(tree, 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(tree, "DEBIAN"), 0o755))
	control := fmt.Sprintf("Package: linux-image-norbert\nVersion: 1\nArchitecture: %s\nMaintainer: A Test <test@example.org>\n"+
		"Depends: %s\nDescription: test\n", runtime.GOARCH, debian)
	require.NoError(t, os.WriteFile(filepath.Join(tree, "DEBIAN/control"), []byte(control), 0o644))
	path := filepath.Join(t.TempDir(), "linux-image-norbert.deb")
	onHost(t, "dpkg-deb", "--root-owner-group", "-b", tree, path)
	return path
}

// onHost runs a command on the host and returns its standard output.
func onHost(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var end bytes.Buffer
	cmd.Stderr = &end
	out, err := cmd.Output()
	require.NoError(t, err, "%s: %s", name, end.String())
	return string(out)
}
