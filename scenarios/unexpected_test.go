package scenarios

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// judgedT is a test that keeps its errors instead of failing.
type judgedT struct {
	testing.TB
	cleanups cleanups
	mu       sync.Mutex
	errors   strings.Builder
}

func (t *judgedT) Failed() bool     { return t.text() != "" }
func (t *judgedT) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *judgedT) Error(args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintln(&t.errors, args...)
}

func (t *judgedT) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.errors.String()
}

// judged returns the errors of a test that did work on a guest and was content.
func judged(t *testing.T, work func(*judgedT, *vmtest.Guest)) string {
	t.Helper()
	return judgedOf(t, func(t testing.TB) *vmtest.Guest { return vmtest.Start(t, vmtest.Config{}) }, work)
}

// judgedOf is judged for a guest that start returns.
func judgedOf(t *testing.T, start func(testing.TB) *vmtest.Guest, work func(*judgedT, *vmtest.Guest)) string {
	t.Helper()
	of := &judgedT{TB: t}
	defer of.cleanups.run(0)
	work(of, start(of))
	of.cleanups.run(1) // the last one gives up the slot
	return of.text()
}

// A guest with which nothing happens has nothing unexpected, in any image.
func TestNothingUnexpected(t *testing.T) {
	t.Parallel()
	assert.Empty(t, judged(t, func(t *judgedT, g *vmtest.Guest) {
		g.DaemonReload(t)
		g.Run(t, "systemctl", "daemon-reexec")
	}))
}

// errs returns a service that logs an error.
func errs(g *vmtest.Guest) string {
	return "[Service]\nType=oneshot\nExecStart=" + g.Machine.Image().BinDir() + "/echo '<3>cannot serve'\n"
}

// misbehave makes units fail in a guest in several ways.
func misbehave(t testing.TB, g *vmtest.Guest) {
	bin := g.Machine.Image().BinDir()
	for name, lines := range map[string]string{
		"fails.service":  "[Service]\nExecStart=" + bin + "/sh -c 'exit 3'\n",
		"dumps.service":  "[Service]\nLimitCORE=infinity\nExecStart=" + bin + "/sh -c 'kill -SEGV $$$$'\n",
		"errs.service":   errs(g),
		"cycle1.service": "[Unit]\nAfter=cycle2.service\nWants=cycle2.service\n[Service]\nType=oneshot\nExecStart=true\n",
		"cycle2.service": "[Unit]\nAfter=cycle1.service\n[Service]\nType=oneshot\nExecStart=true\n",
	} {
		g.WriteFile(t, unitFile(g, name), []byte(lines), 0o644)
	}
	for _, unit := range []string{"fails.service", "dumps.service", "errs.service", "cycle1.service"} {
		g.Exec(t, vmtest.Command{Args: []string{"systemctl", "start", unit}})
	}
	g.WaitJournal(t, vmtest.JournalQuery{About: "dumps.service", Match: []string{"UNIT_RESULT=core-dump"}}, nil)
}

// What a test did not announce fails it, with a line for each.
func TestUnexpected(t *testing.T) {
	t.Parallel()
	text := judged(t, func(t *judgedT, g *vmtest.Guest) { misbehave(t, g) })
	for _, want := range []string{
		"fails.service failed once: status 3/NOTIMPLEMENTED",
		"dumps.service failed once: signal 11/SEGV, core dumped",
		"errs.service logged an error: ",
		"echo", "cannot serve",
		"systemd dropped a job: ",
	} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, text, "evidence from the guest", "that is logged, and not an error")
}

// What it announced does not, and an announcement that did not come true does.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	text := judged(t, func(t *judgedT, g *vmtest.Guest) {
		g.AnnounceFailure(t, "fails.service")
		g.AnnounceFailure(t, "dumps.service")
		g.AnnounceFailure(t, "other.service")
		g.AnnounceEntry(t, vmtest.JournalQuery{By: "errs.service", Contains: "cannot serve"})
		g.AnnounceEntry(t, vmtest.JournalQuery{Contains: "ordering cycle", Match: []string{"_PID=1"}})
		misbehave(t, g)
	})
	assert.Contains(t, text, "\n  | other.service did not fail, as AnnounceFailure announced\n")
	assert.Equal(t, 2, strings.Count(text, "\n"), "%s", text)
}

// Units that a Setup copies are under test in each fork, of a kept template as well.
func TestUnexpectedInATemplate(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "errs"} {
		template := vmtest.Template{Name: name, Setup: func(t testing.TB, g *vmtest.Guest) {
			g.CopyFS(t, fstest.MapFS{"errs.service": {Mode: 0o644, Data: []byte(errs(g))}}, path.Dir(unitFile(g, "x")))
		}}
		text := judgedOf(t, template.Start, func(t *judgedT, g *vmtest.Guest) {
			g.Run(t, "systemctl", "start", "errs.service")
		})
		assert.Contains(t, text, "errs.service logged an error: ", "of the template %q", name)
	}
}

// tinyDeb builds a package with one file, and returns its path.
func tinyDeb(t testing.TB, name, file, text string) string {
	t.Helper()
	tree := t.TempDir()
	for path, text := range map[string]string{
		"DEBIAN/control": "Package: " + name + "\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: x\n",
		file:             text,
	} {
		path = filepath.Join(tree, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	require.NoError(t, os.Chmod(tree, 0o755))
	deb := filepath.Join(t.TempDir(), name+".deb")
	out, err := exec.Command("dpkg-deb", "--root-owner-group", "-b", tree, deb).CombinedOutput()
	require.NoError(t, err, string(out))
	return deb
}

// Units are known by all of their names, and those of an installed package are under test.
func TestUnexpectedByOtherNames(t *testing.T) {
	t.Parallel()
	needPackages(t)
	text := judged(t, func(t *judgedT, g *vmtest.Guest) {
		file := func(name, text string) { // by a command, so that the unit is not under test for it
			g.Exec(t, vmtest.Command{Args: []string{"tee", unitFile(g, name)}, Stdin: strings.NewReader(text)})
		}
		link := func(to, from string) { g.Run(t, "ln", "-s", unitFile(g, to), unitFile(g, from)) }
		errs := errs(g)
		file("fails.service", "[Service]\nExecStart="+g.Machine.Image().BinDir()+"/false\n")
		link("fails.service", "alias-fails.service")
		g.AnnounceFailure(t, "alias-fails.service")
		file("errs.service", errs)
		link("errs.service", "alias-errs.service")
		file("other.service", errs)
		file("enabled.service", errs+"[Install]\nWantedBy=multi-user.target\n")
		g.DaemonReload(t)
		g.Unit("alias-errs.service")
		g.Enable(t, "enabled.service")
		g.InstallDeb(t, tinyDeb(t, "tiny", "usr/lib/systemd/system/tiny.service", errs))
		g.DaemonReload(t)
		for _, unit := range []string{"fails.service", "errs.service", "other.service", "enabled.service", "tiny.service"} {
			g.Exec(t, vmtest.Command{Args: []string{"systemctl", "start", unit}})
		}
		g.WaitJournal(t, vmtest.JournalQuery{About: "fails.service", Match: []string{"UNIT_RESULT=exit-code"}}, nil)
	})
	for _, unit := range []string{"errs", "enabled", "tiny"} {
		assert.Equal(t, 1, strings.Count(text, "\n  | "+unit+".service logged an error: "), "%s: %s", unit, text)
	}
	assert.Equal(t, 4, strings.Count(text, "\n"), text)
}
