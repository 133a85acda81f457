package scenarios

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// covered returns the functions of testdata/covered that ran, according to the data in dir.
func covered(t *testing.T, dir string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "tool", "covdata", "func", "-i="+dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	var ran []string
	for _, m := range regexp.MustCompile(`(?m)covered/main.go:\d+:\s+(\S+)\s+([0-9.]+)%$`).FindAllStringSubmatch(string(out), -1) {
		if m[2] != "0.0" {
			ran = append(ran, m[1])
		}
	}
	return ran
}

// startCovered starts a guest with the program and its units, whose coverage goes to dir.
func startCovered(t *testing.T, dir string) *vmtest.Guest {
	t.Helper()
	t.Setenv("VMTEST_COVER", dir)
	g := vmtest.Start(t, vmtest.Config{})
	g.InstallGo(t, "./testdata/covered", "/usr/local/bin/covered")
	copyUnits(t, g, "testdata/covered/units")
	return g
}

// runCovered runs the program until it is up, in a sandbox.
func runCovered(t *testing.T, g *vmtest.Guest, end string) *vmtest.Unit {
	t.Helper()
	u := g.Unit("covered@" + end + ".service")
	u.Start(t)
	g.WaitJournal(t, vmtest.JournalQuery{Unit: u.Name()}, func(e vmtest.Entry) bool { return e.Message == "up" })
	return u
}

// However a program ends, in whatever sandbox, its counters come to the host when the machine
// does not run any more.
func TestCoverage(t *testing.T) {
	needGo(t)
	dir := filepath.Join(t.TempDir(), "cover")
	t.Run("guest", func(t *testing.T) {
		g := startCovered(t, dir)
		for _, end := range []string{"panics", "exits", "killed"} {
			g.AnnounceFailure(t, "covered@"+end+".service")
		}
		for _, end := range []string{"panics", "exits"} {
			runCovered(t, g, end).Wait(t, "failed")
		}
		runCovered(t, g, "returns").Stop(t)
		u := runCovered(t, g, "killed")
		u.Kill(t, syscall.SIGKILL)
		u.Wait(t, "failed")
	})
	assert.Equal(t, []string{"main", "returns", "killed", "panics", "exits"}, covered(t, dir))
}

// A program that runs when the power is cut leaves its counters, too.
func TestCoverageAtKill(t *testing.T) {
	needGo(t)
	dir := filepath.Join(t.TempDir(), "cover")
	g := startCovered(t, dir)
	runCovered(t, g, "killed")
	g.Kill(t)
	assert.Equal(t, []string{"main", "killed"}, covered(t, dir))
}

// A guest that ends by itself takes the counters with it. That fails no test.
func TestCoverageOfAGuestThatEnds(t *testing.T) {
	needGo(t)
	dir := filepath.Join(t.TempDir(), "cover")
	g := startCovered(t, dir)
	runCovered(t, g, "killed")
	_, err := g.Machine.Run(t.Context(), "sh", "-c", "echo o >/proc/sysrq-trigger; sleep 60")
	require.Error(t, err)
	require.Equal(t, vmtest.EndingPoweroff, g.WaitEnding(t))
	require.NoError(t, g.Machine.Close())
	assert.NoDirExists(t, dir)
}

// Forks of a template have the counters of what its Setup has installed.
func TestCoverageOfATemplate(t *testing.T) {
	needGo(t)
	dir := filepath.Join(t.TempDir(), "cover")
	t.Setenv("VMTEST_COVER", dir)
	prepared := vmtest.Template{Setup: func(t testing.TB, g *vmtest.Guest) {
		g.InstallGo(t, "./testdata/covered", "/usr/local/bin/covered")
		copyUnits(t, g, "testdata/covered/units")
	}}
	t.Run("guest", func(t *testing.T) { runCovered(t, prepared.Start(t), "returns").Stop(t) })
	assert.Equal(t, []string{"main", "returns"}, covered(t, dir))
}

// What a unit must not forbid. The program runs all the same, without counters.
func TestCoverageLimits(t *testing.T) {
	needGo(t)
	dir := filepath.Join(t.TempDir(), "cover")
	t.Run("guest", func(t *testing.T) {
		g := startCovered(t, dir)
		for end, dropIn := range map[string]string{
			"returns": "[Service]\nSystemCallFilter=~memfd_create\nSystemCallErrorNumber=EPERM\n",
			"killed":  "[Service]\nTemporaryFileSystem=/usr/local/bin\nBindReadOnlyPaths=/usr/local/bin/covered\n",
		} {
			g.Unit("covered@"+end+".service").WriteDropIn(t, "10-limit.conf", dropIn)
			runCovered(t, g, end).Stop(t)
		}
	})
	assert.Empty(t, covered(t, dir))
	assert.FileExists(t, cacheFile(t, dir, "covmeta.*"), "the collector itself has run")
}

// A reboot takes nothing away, and what runs after it is counted, too.
func TestCoverageOverReboot(t *testing.T) {
	needGo(t)
	dir := filepath.Join(t.TempDir(), "cover")
	rebooted := false // not on an old systemd
	t.Run("guest", func(t *testing.T) {
		g := startCovered(t, dir)
		g.NeedSystemd(t, 254, "soft-reboot")
		runCovered(t, g, "killed")
		g.SoftReboot(t)
		rebooted = true
		runCovered(t, g, "returns").Stop(t)
	})
	if rebooted {
		assert.Equal(t, []string{"main", "returns", "killed"}, covered(t, dir))
	}
}
