package scenarios

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest"
)

// buildDeb builds a package of the echo daemon from testdata/deb, with the socket unit of
// Accept=no, and returns its path.
func buildDeb(t *testing.T, version string) string {
	t.Helper()
	tree := t.TempDir()
	require.NoError(t, os.Chmod(tree, 0o755))
	require.NoError(t, os.CopyFS(tree, os.DirFS("testdata/deb")))
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		require.NoError(t, os.Chmod(filepath.Join(tree, "DEBIAN", script), 0o755))
	}
	replace := func(from, to string, pairs ...string) {
		text, err := os.ReadFile(from)
		require.NoError(t, err)
		for i := 0; i < len(pairs); i += 2 {
			text = bytes.ReplaceAll(text, []byte(pairs[i]), []byte(pairs[i+1]))
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		require.NoError(t, os.WriteFile(to, text, 0o644))
	}
	control := filepath.Join(tree, "DEBIAN/control")
	replace(control, control, "@VERSION@", version, "@ARCH@", runtime.GOARCH)
	for _, unit := range []string{echoSocket, echoService} {
		replace("../echo/units/accept-no/"+unit, filepath.Join(tree, "usr/lib/systemd/system", unit), "/usr/local/bin/", "/usr/bin/")
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(tree, "usr/bin/demo-echo"), "../echo/cmd/demo-echo")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	path := filepath.Join(t.TempDir(), "demo-echo_"+version+".deb")
	pack := exec.Command("dpkg-deb", "--root-owner-group", "-b", tree, path)
	pack.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1735689600") // the same file each time, and so the same image
	out, err = pack.CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// What a packager tests: the socket of a package listens from the installation on, an
// upgrade leaves it alone and restarts the daemon, and it goes with the package. Files of
// the administrator stay until the package is purged.
func TestDebLifecycle(t *testing.T) {
	t.Parallel()
	needPackages(t)
	const config = "/etc/default/demo-echo"
	g := vmtest.Start(t, vmtest.Config{Debs: []string{buildDeb(t, "1.0")}})
	assert.Equal(t, "1.0", g.Machine.Image().Debs[0].Version)
	assertShow(t, g, echoSocket, properties{"UnitFileState": "enabled", "SubState": "listening", "NAccepted": "0"})
	assertShow(t, g, echoService, properties{"ActiveState": "inactive"})
	since := show(t, g, echoSocket, "ActiveEnterTimestampMonotonic")
	old := connect(t, g, "tcp", echoAddress)
	old.echo(t, "served by 1.0")
	pid := show(t, g, echoService, "MainPID")

	g.WriteFile(t, config, []byte("# Mine.\n"), 0o644)
	g.InstallDeb(t, buildDeb(t, "2.0"))
	assert.Equal(t, "2.0", g.Run(t, "dpkg-query", "-W", "-f", "${Version}", "demo-echo"))
	assertShow(t, g, echoSocket, properties{"SubState": "running", "ActiveEnterTimestampMonotonic": since})
	assert.NotEqual(t, pid, show(t, g, echoService, "MainPID"))
	_, err := io.ReadAll(old.in)
	assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection from before the upgrade")
	connect(t, g, "tcp", echoAddress).echo(t, "served by 2.0")
	assert.Equal(t, "# Mine.\n", string(g.ReadFile(t, config)))

	g.Run(t, "dpkg", "--remove", "demo-echo")
	assertShow(t, g, echoSocket, properties{"LoadState": "not-found", "ActiveState": "inactive"})
	assert.Equal(t, "# Mine.\n", string(g.ReadFile(t, config)))
	g.Run(t, "dpkg", "--purge", "demo-echo")
	_, err = g.Machine.ReadFile(t.Context(), config)
	assert.ErrorIs(t, err, os.ErrNotExist)

	torn := buildDeb(t, "3.0")
	require.NoError(t, os.Truncate(torn, 2000))
	err = g.Machine.InstallDeb(t.Context(), torn)
	require.ErrorAs(t, err, new(*vmtest.ExitError))
	assert.ErrorContains(t, err, "install "+torn+": run dpkg: exit status 1; it printed:\n")
	assert.ErrorContains(t, err, "dpkg: error processing archive")
}

// needPackages skips a test whose image gets packages.
func needPackages(t *testing.T) {
	t.Helper()
	name := os.Getenv("VMTEST_IMAGE")
	if info, err := os.Stat(name); images.IsPath(name) && err == nil && info.IsDir() {
		t.Skip("VMTEST_IMAGE is a directory, which takes no packages: set it to the name or the recipe of an image, such as " + images.Default)
	}
}
