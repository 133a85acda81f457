package host

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestInstallCommand(t *testing.T) {
	tools := []Tool{{Command: "sqfstar", Package: "squashfs-tools"}, {Command: "newuidmap", Package: "uidmap"}}
	want := []string{"apt-get", "install", "--yes", "--no-install-recommends", "squashfs-tools", "uidmap"}
	for _, release := range []string{
		"ID=debian\nVERSION_ID=\"12\"",
		"ID=ubuntu\nID_LIKE=debian",
		"ID=linuxmint\nID_LIKE=\"ubuntu debian\"",
	} {
		i, ok := installCommand(ParseOSRelease([]byte(release)), tools)
		assert.True(t, ok, release)
		assert.Equal(t, want, i.Install)
	}
	i, _ := installCommand(map[string]string{"ID": "debian"}, tools[:1])
	const asRoot = "apt-get update && apt-get install --yes --no-install-recommends squashfs-tools"
	const bySudo = "sudo apt-get update && sudo apt-get install --yes --no-install-recommends squashfs-tools"
	assert.Equal(t, bySudo, i.Sudo(false, true).String())
	assert.Equal(t, asRoot, i.Sudo(true, true).String())
	assert.Equal(t, asRoot, i.Sudo(false, false).String(), "without sudo")
	_, ok := installCommand(ParseOSRelease([]byte("ID=fedora")), tools)
	assert.False(t, ok)
	_, ok = installCommand(nil, tools)
	assert.False(t, ok)
}

func TestMissingNamesEveryTool(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var commands []string
	for _, tool := range Missing() {
		commands = append(commands, tool.Command)
		assert.NotEmpty(t, tool.Package)
		assert.NotEmpty(t, tool.Why)
	}
	assert.Subset(t, commands, []string{"mmdebstrap", "sqfstar", "newuidmap"})
}
