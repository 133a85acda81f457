package vmtest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// modulesOf returns the other modules that a package of this one is built from.
func modulesOf(t *testing.T, pkg string) []string {
	t.Helper()
	const module = "example.org/systemd-vmtest"
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", module+"/"+pkg).Output()
	require.NoError(t, err)
	modules := strings.Fields(string(out))
	slices.Sort(modules)
	return slices.DeleteFunc(slices.Compact(modules), func(m string) bool { return m == module })
}

// TestModules lists what a user's go.mod gets with an import of package vmtest. Each line
// there is one that users must trust: think before you add one.
func TestModules(t *testing.T) {
	mine := modulesOf(t, "vmtest")
	assert.Equal(t, []string{
		"github.com/cavaliergopher/cpio",
		"github.com/coreos/go-systemd/v22",
		"github.com/digitalocean/go-libvirt", // of go-qemu
		"github.com/digitalocean/go-qemu",
		"github.com/godbus/dbus/v5",
		"github.com/gofrs/flock",
		"github.com/google/go-containerregistry",
		"github.com/klauspost/compress",
		"github.com/kr/fs", // of sftp
		"github.com/pkg/sftp",
		"github.com/ulikunitz/xz",
		"golang.org/x/crypto",
		"golang.org/x/sync",
		"golang.org/x/sys",
		"golang.org/x/term",
	}, mine)

	// The agent is built in the user's module, whose go.sum has no more than these.
	for _, m := range modulesOf(t, "vmtest/cmd/agent") {
		assert.Contains(t, mine, m, "module of the agent")
	}
}
