package vmtest

import (
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// directions are what the packages of a part of the module may import of the module, as
// patterns of path.Match. The first that matches a package counts. ARCHITECTURE.md draws
// the picture.
var directions = []struct {
	packages string
	may      []string
}{
	{"echo*", []string{"echo"}},
	{"echo/*", []string{"echo", "echo/*"}},
	{"echo/*/*", []string{"echo", "echo/*"}},
	{"internal/*", []string{"internal/*"}},
	{"images", []string{"internal/*"}},
	{"images/*/*", []string{"images", "internal/*"}},
	{"scenarios", []string{"vmtest", "vmtest/netstack", "images", "internal/*", "vmtest/internal/deadline"}},
	{"scenarios/faults", []string{"internal/host", "internal/tail"}},
	{"scenarios/conformance", []string{"vmtest", "images", "scenarios/conformance/internal/*"}},
	{"scenarios/conformance/cmd/*", []string{"scenarios/conformance/internal/*", "internal/tail"}},
	{"scenarios/conformance/internal/*", nil},
	{"vmtest", []string{"images", "internal/*", "vmtest/internal/*"}},
	{"vmtest/netstack", []string{"vmtest"}},
	{"vmtest/cmd/agent", []string{"internal/*", "vmtest/internal/*"}},
	{"vmtest/cmd/*", []string{"vmtest", "images", "internal/*", "vmtest/internal/*"}},
	{"vmtest/internal/vm", []string{"images", "internal/*", "vmtest/internal/*"}},
	{"vmtest/internal/systemd", []string{"internal/*", "vmtest/internal/deadline"}},
	{"vmtest/internal/link", []string{"internal/*", "vmtest/internal/link/wire"}},
	{"vmtest/internal/link/wire", nil},
	{"vmtest/internal/agent", []string{"internal/*", "vmtest/internal/link/wire"}},
	{"vmtest/internal/guest", []string{"internal/*", "vmtest/internal/agent", "vmtest/internal/link/wire"}},
	{"vmtest/internal/initrd", []string{"internal/*", "vmtest/internal/guest"}},
	{"vmtest/internal/boot", []string{"images", "internal/*", "vmtest/internal/accel", "vmtest/internal/gobuild",
		"vmtest/internal/guest", "vmtest/internal/initrd", "vmtest/internal/memo", "vmtest/internal/qemu", "vmtest/internal/trim"}},
	{"vmtest/internal/accel", []string{"internal/*", "vmtest/internal/deadline", "vmtest/internal/guest",
		"vmtest/internal/memo", "vmtest/internal/qemu"}},
	{"vmtest/internal/doctor", []string{"images", "internal/*", "vmtest/internal/boot", "vmtest/internal/gobuild",
		"vmtest/internal/qemu", "vmtest/internal/slots", "vmtest/internal/snapshots"}},
	{"vmtest/internal/report", []string{"internal/*", "vmtest/internal/evidence"}},
	{"vmtest/internal/terminal", []string{"internal/*", "vmtest/internal/link"}},
	{"vmtest/internal/bundle", []string{"images", "internal/*", "vmtest/internal/evidence", "vmtest/internal/qemu",
		"vmtest/internal/snapshots"}},
	{"vmtest/internal/snapshots", []string{"internal/*", "vmtest/internal/inputs"}},
	{"vmtest/internal/*", []string{"internal/*"}}, // all others stand on their own
}

// TestDirections checks that no package imports what lies above it.
func TestDirections(t *testing.T) {
	const module = "example.org/systemd-vmtest/"
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"...").Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		imports := strings.Fields(line)
		pkg := strings.TrimPrefix(imports[0], module)
		may := mayImport(t, pkg)
		for _, i := range imports[1:] {
			if i == "testing" {
				assert.False(t, strings.Contains("/"+pkg, "/internal/"), "%s imports testing", pkg)
			}
			if rest, ours := strings.CutPrefix(i, module); ours {
				assert.True(t, matchesAny(may, rest), "%s imports %s", pkg, rest)
			}
		}
	}
}

// mayImport returns the patterns of what a package may import.
func mayImport(t *testing.T, pkg string) []string {
	for _, d := range directions {
		if ok, err := path.Match(d.packages, pkg); err == nil && ok {
			return d.may
		}
	}
	assert.Fail(t, "no direction", "package %s", pkg)
	return nil
}

func matchesAny(patterns []string, pkg string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, pkg); err == nil && ok {
			return true
		}
	}
	return false
}
