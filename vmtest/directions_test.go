package vmtest

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDirections keeps the house's packages from importing what lies above them;
// ARCHITECTURE.md draws the picture.
func TestDirections(t *testing.T) {
	const module = "example.org/systemd-vmtest/"
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"...").Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		imports := strings.Fields(line)
		pkg := strings.TrimPrefix(imports[0], module)
		for _, i := range imports[1:] {
			rest, ours := strings.CutPrefix(i, module)
			top, _, _ := strings.Cut(rest, "/")
			switch {
			case strings.HasPrefix(pkg, "vmtest/internal/"):
				assert.NotEqual(t, "testing", i, "%s", pkg)
				assert.False(t, rest == "vmtest" && ours, "%s imports vmtest", pkg)
			case strings.HasPrefix(pkg, "echo"):
				assert.False(t, ours && top != "echo", "%s imports %s", pkg, i)
			case strings.HasPrefix(pkg, "images"):
				assert.False(t, ours && top != "images" && top != "internal", "%s imports %s", pkg, i)
			case strings.HasPrefix(pkg, "internal/"):
				assert.False(t, ours && top != "internal", "%s imports %s", pkg, i)
			}
			if strings.HasPrefix(pkg, "vmtest") && ours {
				assert.NotContains(t, []string{"echo", "scenarios"}, top, "%s imports %s", pkg, i)
			}
		}
	}
}
