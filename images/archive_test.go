package images

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testDeb describes a package for a test.
type testDeb struct {
	name, version string // version is 1.0 if empty
	arch          string // all if empty
	depends       string
	postinst      string            // a shell script
	files         map[string]string // path to content
}

// make builds the package with dpkg-deb(1) in dir, and returns its path.
func (d testDeb) make(t *testing.T, dir string) string {
	t.Helper()
	tree := t.TempDir()
	write := func(path, text string, mode os.FileMode) {
		path = filepath.Join(tree, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), mode))
	}
	orElse := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: A Test <test@example.org>\nDescription: test\n",
		d.name, orElse(d.version, "1.0"), orElse(d.arch, "all"))
	if d.depends != "" {
		control += "Depends: " + d.depends + "\n"
	}
	write("DEBIAN/control", control, 0o644)
	if d.postinst != "" {
		write("DEBIAN/postinst", "#!/bin/sh\n"+d.postinst, 0o755)
	}
	for path, text := range d.files {
		write(path, text, 0o644)
	}
	require.NoError(t, os.Chmod(tree, 0o755))
	path := filepath.Join(dir, d.name+".deb")
	out, err := exec.Command("dpkg-deb", "--root-owner-group", "-b", tree, path).CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// serveArchive serves a signed archive of packages to those who know the login. It returns
// its URI and keyring.
func serveArchive(t *testing.T, user, password string, debs ...testDeb) (uri, keyring string) {
	t.Helper()
	dir, home := t.TempDir(), t.TempDir()
	var list strings.Builder
	for _, d := range debs {
		path := d.make(t, dir)
		control, err := exec.Command("dpkg-deb", "-f", path).Output()
		require.NoError(t, err)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		fmt.Fprintf(&list, "%sFilename: ./%s\nSize: %d\nSHA256: %x\n\n", control, filepath.Base(path), len(data), sha256.Sum256(data))
	}
	packages := []byte(list.String())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Packages"), packages, 0o644))
	release := fmt.Sprintf("Origin: test\nSuite: test\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n %x %d Packages\n", sha256.Sum256(packages), len(packages))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Release"), []byte(release), 0o644))
	gpg := func(args ...string) {
		cmd := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	require.NoError(t, os.Chmod(home, 0o700))
	keyring = filepath.Join(t.TempDir(), "archive.gpg")
	gpg("--quick-generate-key", "test@example.org", "rsa2048", "sign", "never")
	gpg("--output", keyring, "--export")
	gpg("--clearsign", "--output", filepath.Join(dir, "InRelease"), filepath.Join(dir, "Release"))
	t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() })

	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, keyring
}
