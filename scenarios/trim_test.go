package scenarios

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest"
)

// A guest goes without what "vmtest trim" lists, and with VMTEST_UNTRIMMED=1 has
// it all, as when "make untrimmed" runs the guide.
func TestTrimming(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	masks := strings.Count(g.Run(t, "sh", "-c", "ls -l /run/systemd/system /run/systemd/system-generators 2>&1 || :"), "-> /dev/null")
	args := g.Run(t, "cat", "/proc/cmdline")
	if os.Getenv("VMTEST_UNTRIMMED") == "1" {
		assert.Zero(t, masks, "masked units and generators")
		assert.NotContains(t, args, "mitigations=off")
		return
	}
	assert.Greater(t, masks, 20, "masked units and generators")
	assert.Contains(t, args, "mitigations=off")
}
