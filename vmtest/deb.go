package vmtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"example.org/systemd-vmtest/internal/tail"
)

// InstallDeb copies a package file (.deb) of the host to the guest and installs it with
// dpkg(1), as an upgrade if the guest has another version of it. The package's scripts do
// what they do on any system: they enable, start and restart units. Configuration files
// that the guest has changed are kept. What the package depends on has to be installed:
// Config.Packages and Config.Debs do that while an image is built, and in a fraction of
// the time. The error has the end of what dpkg and the scripts printed.
func (m *Machine) InstallDeb(ctx context.Context, hostPath string) error {
	m = m.system() // dpkg needs root
	guestPath := "/var/tmp/" + rand.Text() + ".deb"
	if err := m.Copy(ctx, hostPath, guestPath); err != nil {
		return err
	}
	if name, err := m.Run(ctx, "dpkg-deb", "--field", guestPath, "Package"); err == nil { // if not, dpkg says why
		m.announced.testPackage(strings.TrimSpace(name))
	}
	out := tail.NewBuffer(debOutputShown)
	// The same writer for both streams keeps their order.
	r, err := m.Exec(ctx, Command{
		Args: []string{"sh", "-c", `dpkg --force-confold --install "$1"; status=$?; rm -f "$1"; exit $status`, "sh", guestPath},
		Env:  []string{"DEBIAN_FRONTEND=noninteractive"}, Stdout: out, Stderr: out,
	})
	if err != nil {
		return fmt.Errorf("install %s: %w", hostPath, err)
	}
	var exit *ExitError
	if errors.As(r.Err(), &exit) {
		return fmt.Errorf("install %s: run dpkg: %w; it printed:\n%s", hostPath, exit, tail.Printable(out.String()))
	}
	return nil
}

// debOutputShown is how much of dpkg's output an error has, in bytes.
const debOutputShown = 4 << 10

// InstallDeb installs a package file of the host with dpkg, as Machine.InstallDeb.
func (g *Guest) InstallDeb(t testing.TB, hostPath string) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.InstallDeb(ctx, hostPath) })
}
