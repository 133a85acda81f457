package scenarios

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// ApplyConfig does what a package's installation does: it adds the package's users, makes
// its directories for them, and enables or disables its units by the presets.
func TestApplyConfig(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	const service = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
	write := func(path, text string) { g.WriteFile(t, path, []byte(text), 0o644) }
	write("/etc/sysusers.d/demo.conf", "u demo - \"Demo\"\nm demo daemon\n")
	write("/etc/tmpfiles.d/demo.conf", "d /var/lib/demo 0750 demo demo\n")
	write("/etc/systemd/system-preset/10-demo.preset", "enable demo.service\ndisable *\n")
	write(unitDir(g)+"/demo.service", service)
	write(unitDir(g)+"/other.service", service)

	g.ApplyConfig(t, "demo.service", "other.service")
	assert.Equal(t, "demo daemon\n", g.Run(t, "id", "-nG", "demo"))
	assert.Equal(t, "750 demo demo\n", g.Run(t, "stat", "-c", "%a %U %G", "/var/lib/demo"))
	assert.Equal(t, enabledState(g), g.Unit("demo.service").Show(t, "UnitFileState")["UnitFileState"])
	assert.Equal(t, "disabled", g.Unit("other.service").Show(t, "UnitFileState")["UnitFileState"])

	ctx := t.Context()
	assert.ErrorContains(t, g.Machine.ApplyConfig(ctx, "absent.service"), " -- absent.service: exit status 1")
	assert.ErrorContains(t, g.Machine.ApplyConfig(ctx, "demo"), `preset: unit name "demo"`)
	write("/etc/tmpfiles.d/bad.conf", "d /var/lib/bad 0750 nobody-such\n")
	err := g.Machine.ApplyConfig(ctx)
	require.ErrorContains(t, err, "run systemd-tmpfiles --create: exit status 65")
	assert.ErrorContains(t, err, "/etc/tmpfiles.d/bad.conf:1: Failed to resolve user 'nobody-such'")
	write("/etc/sysusers.d/bad.conf", "x bad\n")
	err = g.Machine.ApplyConfig(ctx)
	require.ErrorContains(t, err, "run systemd-sysusers: ")
	assert.ErrorContains(t, err, "/etc/sysusers.d/bad.conf:1")
	assert.ErrorContains(t, err, "Unknown command type 'x'")
}

// For a user, ApplyConfig makes the files of user-tmpfiles.d too, in the user's directories
// and as the user.
func TestApplyUserConfig(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	u := g.AddUser(t, vmtest.User{Name: "alice"})
	alice := g.AsUser(t, "alice")
	g.WriteFile(t, "/etc/tmpfiles.d/demo.conf", []byte("d /var/lib/demo 0750 alice alice\n"), 0o644)
	alice.WriteFile(t, u.Home+"/.config/user-tmpfiles.d/demo.conf", []byte("d %t/demo 0710\nf %h/note 0600 - - - hello\n"), 0o644)
	alice.ApplyConfig(t)
	assert.Equal(t, "710 alice alice\n600 alice alice\n750 alice alice\n",
		g.Run(t, "stat", "-c", "%a %U %G", "/run/user/1000/demo", u.Home+"/note", "/var/lib/demo"))
	assert.Equal(t, "hello", string(g.ReadFile(t, u.Home+"/note")))

	alice.WriteFile(t, u.Home+"/.config/user-tmpfiles.d/bad.conf", []byte("f /etc/note 0600\n"), 0o644)
	err := alice.Machine.ApplyConfig(t.Context())
	require.ErrorContains(t, err, "run systemd-tmpfiles --user --create: exit status 73")
	assert.ErrorContains(t, err, "/etc/note")
}
