package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"example.org/systemd-vmtest/internal/passwd"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// AsUser starts the systemd that manages the services of a user (user@.service(5)), if it
// does not run yet, waits until that has started its units, so that enabled sockets listen,
// and returns the same machine as that user sees it:
//
//   - Unit, Enable, EnableNow, Disable, DaemonReload, Verify, Findings, Systemd, WaitSystemd and the
//     presets of ApplyConfig are about the units of that systemd, as systemctl --user is.
//   - ApplyConfig also makes the user's files.
//   - The Unit of a JournalQuery is one of these units.
//   - Run and Exec run commands as the user, with XDG_RUNTIME_DIR, unless Command.User is set.
//   - Files and directories that Copy, CopyFS, WriteFile and InstallGo make belong to the user,
//     who may write to the directories.
//
// All else is as before: ReadFile, CopyOut, Dial and Listen act as root, and Close ends the
// machine. The user is given by name or UID and must be in the guest's /etc/passwd.
//
// The user's systemd ends with the guest's reboot, and when user@UID.service is stopped.
// Calls then fail until AsUser is called again.
//
// There is no login. In an image with the package libpam-systemd a PAM module sets
// XDG_RUNTIME_DIR for the user's systemd, and in others a drop-in for user@UID.service does.
// The user has a D-Bus of its own only in an image with dbus-user-session.
//
// With libpam-systemd a login, such as by SSH or "su - NAME", is a session of logind, and
// uses the same systemd. That ends some seconds after the user's last session, as on any
// such system, unless "loginctl enable-linger NAME" was run before.
func (m *Machine) AsUser(ctx context.Context, user string) (*Machine, error) {
	as, err := m.asUser(ctx, user)
	if err != nil {
		return nil, fmt.Errorf("start systemd of user %q: %w", user, err)
	}
	return as, nil
}

func (m *Machine) asUser(ctx context.Context, user string) (*Machine, error) {
	m = m.system()
	users, err := m.users(ctx)
	if err != nil {
		return nil, err
	}
	u, err := passwd.Find(users, user)
	if err != nil {
		return nil, err
	}
	unit := vm.UserUnit(u.UID)
	if err := m.setRuntimeDir(ctx, unit); err != nil {
		return nil, err
	}
	if err := (&MachineUnit{m, unit}).Start(ctx); err != nil { // it is not under test
		return nil, err
	}
	as := *m
	as.user = &u
	if _, err := as.units().WaitSystemState(ctx); err != nil {
		return nil, public(err)
	}
	return &as, nil
}

// setRuntimeDir makes unit, which runs a user's systemd, set XDG_RUNTIME_DIR. Without it
// systemd does not start. Where pam_systemd(8) is, that sets it.
func (m *Machine) setRuntimeDir(ctx context.Context, unit string) error {
	for _, p := range m.Image().Packages {
		if p.Name == "libpam-systemd" {
			return nil
		}
	}
	file := "/run/systemd/system/" + unit + ".d/50-vmtest-runtime-dir.conf"
	if _, err := m.ReadFile(ctx, file); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	conn, err := m.Systemd(ctx)
	if err != nil {
		return err
	}
	loaded, err := conn.ListUnitsByPatternsContext(ctx, nil, []string{unit})
	if err != nil {
		return fmt.Errorf("look for %s: %w", unit, err)
	}
	err = m.writeFile(ctx, file, []byte("[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n"), 0o644)
	if err != nil || len(loaded) == 0 {
		return err
	}
	// systemd has loaded the unit without the drop-in, perhaps because it failed. In version
	// 247 its NeedDaemonReload does not show that.
	return m.DaemonReload(ctx)
}

// system returns the machine as root sees it.
func (m *Machine) system() *Machine {
	if m.user == nil {
		return m
	}
	system := *m
	system.user = nil
	return &system
}

// units returns the units that calls are about.
func (m *Machine) units() *vm.Units {
	if m.user == nil {
		return &m.vm.Units
	}
	return m.vm.UserUnits(m.user.UID)
}

// asMyself returns c as it runs for the user of this view of the machine.
func (m *Machine) asMyself(c Command) Command {
	if m.user == nil || c.User != "" {
		return c
	}
	c.User = m.user.Name
	c.Env = append([]string{fmt.Sprintf("XDG_RUNTIME_DIR=/run/user/%d", m.user.UID)}, c.Env...)
	return c
}

// owner returns whom files belong to that are written; nil is root.
func (m *Machine) owner() *link.Owner {
	if m.user == nil {
		return nil
	}
	return &link.Owner{UID: int(m.user.UID), GID: int(m.user.GID)}
}

// scoped returns the arguments of a command with the option --user if it is one of systemd
// and the units are those of a user.
func (m *Machine) scoped(args []string) []string {
	if m.user == nil || args[0] != "systemctl" && args[0] != "systemd-analyze" {
		return args
	}
	return slices.Insert(slices.Clone(args), 1, "--user")
}

// AsUser starts the systemd of a user and returns the same guest as that user sees it, as
// Machine.AsUser.
func (g *Guest) AsUser(t testing.TB, user string) *Guest {
	t.Helper()
	m := get(t, g, func(ctx context.Context) (*Machine, error) { return g.Machine.AsUser(ctx, user) })
	if m == nil { // on another goroutine than the test's
		return g
	}
	return &Guest{Machine: m, queued: g.queued}
}
