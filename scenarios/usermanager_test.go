package scenarios

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// startUserGuest starts a guest with a user alice and her own units, and returns it as root
// and as alice see it. The image needs neither libpam-systemd nor a D-Bus for users.
func startUserGuest(t *testing.T) (g, alice *vmtest.Guest, uid int) {
	t.Helper()
	g = vmtest.Start(t, vmtest.Config{})
	u := g.AddUser(t, vmtest.User{Name: "alice"})
	alice = g.AsUser(t, "alice")
	copyUnitsTo(t, alice, "testdata/users", u.Home+"/.config/systemd/user")
	return g, alice, u.UID
}

// A socket unit of a user manager, below %t, starts its service for a connection, as the
// user and with the user's environment.
func TestUserSocket(t *testing.T) {
	t.Parallel()
	g, alice, uid := startUserGuest(t)
	path := fmt.Sprintf("/run/user/%d/demo.sock", uid)

	alice.Verify(t, "demo-user.socket", "/home/alice/.config/systemd/user/demo-user@.service")
	g.WriteFile(t, fmt.Sprintf("/run/user/%d/systemd/user/demo-typo.service", uid), []byte("[Service]\nExecStat=/bin/true\n"), 0o644)
	findings := alice.Findings(t, vmtest.Verification{Units: []string{"demo-typo.service"}})
	require.NotEmpty(t, findings)
	assert.Contains(t, findings[0].String(), "ExecStat")
	const dir = "/home/alice/.config/systemd/user/"
	assert.Equal(t, []vmtest.UnitFileChange{{Type: "symlink", Path: dir + "sockets.target.wants/demo-user.socket", Target: dir + "demo-user.socket"}},
		alice.EnableNow(t, "demo-user.socket"))
	alice.Unit("demo-user.socket").Wait(t, "listening")
	shown := alice.Unit("demo-user.socket").Show(t, "Listen", "SubState", "UnitFileState")
	assert.Equal(t, map[string]string{"Listen": path + " (Stream)", "SubState": "listening", "UnitFileState": "enabled"}, shown)
	assert.Equal(t, "alice\nalice\n", g.Run(t, "stat", "-c", "%U", "/home/alice/.config", "/home/alice/.config/systemd/user/demo-user.socket"))
	assert.Equal(t, "600 alice\n", g.Run(t, "stat", "-c", "%a %U", path))
	assert.Equal(t, "not-found", g.Unit("demo-user.socket").Show(t, "LoadState")["LoadState"], "to PID 1")

	conn := connect(t, alice, "unix", path)
	conn.echo(t, "hello")
	entry := alice.WaitJournal(t, vmtest.JournalQuery{Match: []string{"MESSAGE=serving in " + fmt.Sprintf("/run/user/%d", uid)}}, nil)
	assert.Equal(t, fmt.Sprint(uid), entry.Field("_UID"))
	service := entry.Field("_SYSTEMD_USER_UNIT")
	assert.True(t, strings.HasPrefix(service, "demo-user@"), service)
	alice.Unit(service).Wait(t, "running")
	conn.Close()
	alice.Unit(service).Wait(t, "inactive")

	var messages []string
	for _, e := range alice.Journal(t, vmtest.JournalQuery{Unit: "demo-user.socket"}) {
		messages = append(messages, e.Message)
	}
	assert.Contains(t, strings.Join(messages, "\n"), "Listening on", "from the user's systemd")
	assert.Empty(t, g.Journal(t, vmtest.JournalQuery{Unit: "demo-user.socket"}), "of PID 1's unit of that name")
}

// All verbs of units work on those of a user manager.
func TestUserUnits(t *testing.T) {
	t.Parallel()
	g, alice, uid := startUserGuest(t)
	if !pamSkipsMissing.of(g) {
		g.AnnounceEntry(t, vmtest.JournalQuery{By: "user@1000.service", Contains: "pam_systemd.so"})
	}
	sleep := alice.Unit("demo-user-sleep.service")
	sleep.Start(t)
	sleep.Wait(t, "running")
	sleep.Restart(t)
	sleep.Kill(t, syscall.SIGKILL)
	sleep.Wait(t, "failed")
	sleep.Start(t)
	sleep.Stop(t)
	sleep.Wait(t, "inactive")

	err := alice.Machine.Unit("demo-user-fails.service").Start(t.Context())
	var failed *vmtest.UnitError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, 3, failed.ExitCode)
	assert.Contains(t, strings.Join(failed.Journal, "\n"), "giving up")

	g.WriteFile(t, "/etc/systemd/user/demo-user-sleep.service.d/10-new.conf", []byte("[Unit]\nDescription=New\n"), 0o644)
	alice.DaemonReload(t)
	assert.Equal(t, "New", sleep.Show(t, "Description")["Description"])
	alice.EnableNow(t, "demo-user-sleep.service")
	assert.Equal(t, "enabled", sleep.Show(t, "UnitFileState")["UnitFileState"])
	alice.Disable(t, "demo-user-sleep.service")
	assert.Equal(t, "disabled", sleep.Show(t, "UnitFileState")["UnitFileState"])
	alice.ApplyConfig(t, "demo-user-sleep.service")
	assert.Equal(t, "enabled", sleep.Show(t, "UnitFileState")["UnitFileState"], "by the presets")

	assert.Equal(t, fmt.Sprintf("alice /home/alice /run/user/%d\n", uid), alice.Run(t, "sh", "-c", `echo "$(id -un) $PWD $XDG_RUNTIME_DIR"`))
	assert.Equal(t, "0\n", string(alice.Exec(t, vmtest.Command{Args: []string{"id", "-u"}, User: "root"}).Stdout))
	state, err := alice.Systemd(t).GetManagerProperty("Environment")
	require.NoError(t, err)
	assert.Contains(t, state, "XDG_RUNTIME_DIR=")

	// The user's systemd ends, and a call says so. AsUser starts it again.
	g.Unit(fmt.Sprintf("user@%d.service", uid)).Stop(t)
	err = alice.Machine.Unit("demo-user-sleep.service").Start(t.Context())
	assert.ErrorContains(t, err, fmt.Sprintf("connect to systemd: user@%d.service is inactive", uid))
	g.AsUser(t, fmt.Sprint(uid)).Unit("demo-user-sleep.service").Wait(t, "running")
	assertRunning(t, g)
}

// A user's systemd that runs when a snapshot is made goes on in each fork.
func TestUserManagerInSnapshot(t *testing.T) {
	t.Parallel()
	g, alice, uid := startUserGuest(t)
	alice.EnableNow(t, "demo-user.socket")
	fork := g.Snapshot(t).Start(t, vmtest.ForkConfig{})
	fork.AsUser(t, "alice").Unit("demo-user.socket").Wait(t, "listening")
	connect(t, fork, "unix", fmt.Sprintf("/run/user/%d/demo.sock", uid)).echo(t, "hello")
}

// The evidence of a failed test has the units of a user that failed.
func TestUserEvidence(t *testing.T) {
	t.Parallel()
	text := evidence(t, func(g *vmtest.Guest) {
		g.AddUser(t, vmtest.User{Name: "alice"})
		copyUnitsTo(t, g, "testdata/users", "/etc/systemd/user")
		alice := g.AsUser(t, "alice")
		alice.Unit("demo-user.socket").Start(t)
		err := alice.Machine.Unit("demo-user-fails.service").Start(t.Context())
		assert.Equal(t, "failed", unitError(t, err).JobResult, "%v", err)
	})
	assert.Contains(t, text, "\ndemo-user-fails.service of user 1000 failed once: ")
	assert.Contains(t, text, "sockets of UID 1000:\n  | demo-user.socket active (listening), result success; listens on /run/user/1000/demo.sock (Stream)")
	assert.Contains(t, text, "giving up")
}

// The systemd of a user that does not exist, or that cannot start, is an error with the
// cause.
func TestNoUserManager(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	_, err := g.Machine.AsUser(t.Context(), "nobody-such")
	assert.EqualError(t, err, `start systemd of user "nobody-such": no user "nobody-such" in /etc/passwd`)

	g.AddUser(t, vmtest.User{Name: "alice"})
	g.AllowEntry(t, vmtest.JournalQuery{By: "user@1000.service"}) // systemd 247 logs the reason as an error
	err = g.Machine.Unit("user@1000.service").Start(t.Context())
	assert.Equal(t, "failed", unitError(t, err).JobResult, "without AsUser's drop-in: %v", err)
	g.AsUser(t, "alice") // although systemd has loaded the unit without it

	g.Mask(t, "user@0.service")
	_, err = g.Machine.AsUser(t.Context(), "root")
	require.ErrorAs(t, err, new(*vmtest.UnitError))
	assert.ErrorContains(t, err, "Unit user@0.service is masked")
}
