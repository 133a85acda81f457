package scenarios

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// sessionPackages make a login a session of logind, with a systemd and a D-Bus of the user's
// own.
var sessionPackages = []string{"dbus-user-session", "libpam-systemd", "openssh-server"}

// startSessionGuest starts a guest with sessionPackages and a user alice.
func startSessionGuest(t *testing.T) (*vmtest.Guest, vmtest.User) {
	t.Helper()
	needPackages(t)
	g := vmtest.Start(t, vmtest.Config{Packages: sessionPackages})
	return g, g.AddUser(t, vmtest.User{Name: "alice"})
}

// sessionOf prints what a session sees of itself and of its user's systemd and D-Bus.
const sessionOf = `echo "$XDG_RUNTIME_DIR $DBUS_SESSION_BUS_ADDRESS"
loginctl show-session "$XDG_SESSION_ID" -p Name -p Service -p Remote -p Scope -p State
busctl --user get-property org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager SystemState
systemctl --user show dbus.socket -p SubState`

// assertSession looks for what sessionOf printed.
func assertSession(t *testing.T, user vmtest.User, service, remote, output string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(output), "\n")
	run := fmt.Sprintf("/run/user/%d", user.UID)
	assert.Equal(t, run+" unix:path="+run+"/bus", lines[0])
	for _, line := range []string{"Name=" + user.Name, "Service=" + service, "Remote=" + remote, "SubState=running", `s "running"`} {
		assert.Contains(t, lines, line)
	}
	assert.Regexp(t, `Scope=session-c?[0-9]+\.scope`, output)
}

// A login over ssh.socket is a session of logind. PAM starts the user's systemd, which is
// that of AsUser, and it ends after the last session.
func TestLoginSession(t *testing.T) {
	t.Parallel()
	g, user := startSessionGuest(t)
	key := authorize(t, g, user)
	g.Disable(t, "ssh.service")
	g.Unit("ssh.service").Stop(t)
	g.EnableNow(t, "ssh.socket")
	manager := fmt.Sprintf("user@%d.service", user.UID)
	assertShow(t, g, manager, properties{"ActiveState": "inactive"})

	client := logIn(t, g, user, key)
	session, err := client.NewSession()
	require.NoError(t, err)
	out, err := session.Output(sessionOf)
	require.NoError(t, err, string(out))
	assertSession(t, user, "sshd", "yes", string(out))

	alice := g.AsUser(t, "alice")
	copyUnitsTo(t, alice, "testdata/users", user.Home+"/.config/systemd/user")
	alice.Unit("demo-user-sleep.service").Start(t)
	alice.Unit("demo-user-sleep.service").Wait(t, "running")
	require.NoError(t, client.Close())
	g.Unit(manager).Wait(t, "inactive")
}

// "su -" is a session of logind too. With lingering the user's systemd stays when it ends.
func TestSuSession(t *testing.T) {
	t.Parallel()
	g, user := startSessionGuest(t)
	g.Run(t, "loginctl", "enable-linger", user.Name)
	assertSession(t, user, "su-l", "no", g.Run(t, "su", "-", user.Name, "-c", sessionOf))
	g.AsUser(t, user.Name).Unit("dbus.socket").Wait(t, "running")
}
