package scenarios

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A guest does without what "vmtest trim" lists, and with VMTEST_UNTRIMMED=1 has it
// all, as when "make untrimmed" runs the guide.
func TestTrimming(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile("../vmtest/internal/trim/trim.txt")
	require.NoError(t, err)
	var generators, units, devices []string
	for line := range strings.Lines(string(list)) {
		switch fields := strings.Fields(line); {
		case len(fields) == 0:
		case fields[0] == "device":
			devices = append(devices, "dev-"+fields[1]+".device")
		case fields[0] == "generator":
			generators = append(generators, fields[1])
		case fields[0] == "unit":
			units = append(units, fields[1])
		}
	}
	require.NotEmpty(t, generators)
	require.NotEmpty(t, units)
	require.NotEmpty(t, devices)

	g := vmtest.Start(t, vmtest.Config{})
	masked := func(dir string) []string {
		return strings.Fields(g.Run(t, "find", dir, "-lname", "/dev/null", "-printf", "%P\n"))
	}
	plugged, err := g.Systemd(t).ListUnitsByPatternsContext(t.Context(), []string{"active"}, devices)
	require.NoError(t, err)
	const run = "/run/systemd/"
	args := g.Run(t, "cat", "/proc/cmdline")
	if os.Getenv("VMTEST_UNTRIMMED") == "1" {
		g.Run(t, "test", "!", "-e", run+"system-generators")
		assert.Empty(t, masked(run+"system"))
		assert.NotContains(t, args, "mitigations=off")
		assert.GreaterOrEqual(t, len(plugged), len(devices), "units of devices: %v", plugged)
		return
	}
	assert.ElementsMatch(t, generators, masked(run+"system-generators"))
	assert.ElementsMatch(t, units, masked(run+"system"))
	assert.Contains(t, args, "mitigations=off")
	assert.Empty(t, plugged, "units of devices")
}

// What a guest does without comes back with its input: a generator, and the start of
// logind at boot.
func TestTrimmingHeedsInputs(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	g.DaemonReload(t)
	assertShow(t, g, "default.target", properties{"Id": "graphical.target"})
	if !noInitScripts.of(g) {
		const script = "/etc/init.d/demo"
		g.WriteFile(t, script, []byte("#!/bin/sh\n### BEGIN INIT INFO\n# Provides: demo\n### END INIT INFO\n"), 0o755)
		g.DaemonReload(t)
		assertShow(t, g, "demo.service", properties{"LoadState": "loaded", "SourcePath": script})
	}
	g.Run(t, "ln", "-s", "/var/cache", "/system-update")
	g.Run(t, "mkdir", "-p", "/var/lib/systemd/linger")
	g.Run(t, "touch", "/var/lib/systemd/linger/nobody")
	g.DaemonReload(t)
	assertShow(t, g, "default.target", properties{"Id": "system-update.target"})
	assert.Contains(t, strings.Fields(show(t, g, "multi-user.target", "Wants")), "systemd-logind.service")
}

// logind starts when it is asked.
func TestTrimmedLogind(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	assert.Empty(t, strings.TrimSpace(g.Run(t, "loginctl", "--no-legend", "list-sessions")))
	u := g.Unit("systemd-logind.service")
	u.Wait(t, "active") // loginctl may have its answer before systemd hears that logind has its name on the bus
	assertShow(t, g, u.Name(), properties{"SubState": "running"})
}
