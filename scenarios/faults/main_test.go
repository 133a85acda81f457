package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// module returns the directory of a module with a function, a test of it and these faults.
func module(t *testing.T, faults map[string]string) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
	}
	write("go.mod", "module m\n\ngo 1.26\n")
	write("one.go", "package m\n\nfunc one() int {\n\treturn 1\n}\n")
	write("one_test.go", `package m

import "testing"

func TestOne(t *testing.T) {
	if n := one(); n != 1 {
		t.Errorf("one returns %d", n)
		t.Log("evidence from the guest\nthere were two")
	}
}

func TestSkipped(t *testing.T) { t.Skip("no guest") }
`)
	for name, text := range faults {
		write("scenarios/faults/"+name+".fault", text)
	}
	require.NoError(t, exec.Command("git", "-C", root, "init", "--quiet").Run())
	return root
}

// one returns a fault of the function in module, whose body becomes body.
func one(test, message, body string) string {
	return "Wrong: " + body + "\ntest: . " + test + "\nmessage: " + message + "\n--- one.go\n-\treturn 1\n+\t" + body + "\n"
}

// expectNothingLeft fails the test if it leaves a copy or a temporary file behind.
func expectNothingLeft(t *testing.T) {
	t.Helper()
	temp, cache := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("VMTEST_CACHE", cache)
	t.Cleanup(func() {
		for _, dir := range []string{temp, filepath.Join(cache, "faults")} {
			left, err := os.ReadDir(dir)
			assert.NoError(t, err)
			assert.Empty(t, left, "files left behind in %s", dir)
		}
	})
}

func TestOutcomes(t *testing.T) {
	expectNothingLeft(t)
	root := module(t, map[string]string{
		"a/named":     one("^TestOne$", `one returns \d`, "return 2"),
		"a/unnamed":   one("^TestOne$", "two", "return 2"), // in the evidence only
		"a/test-name": one("^TestOne$", "TestOne", "return 2"),
		"a/slipped":   one("^TestOne$", "one", "return 2 - 1"),
		"a/broken":    one("^TestOne$", "undefined: two", "return two"),
		"a/hanging":   one("^TestOne$", "timed out", "select {}"),
		"b/skipped":   one("^TestSkipped$", "no guest", "return 2"),
		"b/no-test":   one("^TestTwo$", "one", "return 2"),
	})
	var stdout, stderr strings.Builder
	status := run(t.Context(), root, []string{"-run", "^a/hanging ", "-timeout", "1s"}, &stdout, &stderr)
	assert.Equal(t, 1, status, stderr.String())
	assert.Regexp(t, `(?m)^`+string(timedOut)+` +\d+\.\d s  a/hanging +Wrong: `, stdout.String(), "table")

	stdout.Reset()
	stderr.Reset()
	status = run(t.Context(), root, []string{"-run", "^(a/[^h]|b/)"}, &stdout, &stderr)
	assert.Equal(t, 1, status, stderr.String())
	for name, want := range map[string]outcome{
		"a/named": named, "a/unnamed": unnamed, "a/test-name": unnamed, "a/slipped": slipped, "a/broken": notBuilt,
		"b/skipped": notRun, "b/no-test": notRun,
	} {
		assert.Regexp(t, `(?m)^ +\d/7  `+string(want)+` +\d+\.\d s  `+name+`$`, stderr.String(), "progress")
		assert.Regexp(t, `(?m)^`+string(want)+` +\d+\.\d s  `+name+` +Wrong: `, stdout.String(), "table")
	}
	assert.Contains(t, stdout.String(), "a/unnamed caught, unnamed: Wrong: return 2\n    want a message that matches two\n")
	assert.Contains(t, stdout.String(), "one returns 2\n")
	assert.Contains(t, stdout.String(), "undefined: two\n")
	assert.Regexp(t, `\n7 faults in \d+ s, 1 caught and named, 2 caught, unnamed, 1 slipped through, .*: 14.3 % caught by a message that names them\n$`, stdout.String())

	stdout.Reset()
	assert.Equal(t, 0, run(t.Context(), root, []string{"-run", "^a/named ", "-v"}, &stdout, &stderr), "status of a run that catches all")
	assert.Contains(t, stdout.String(), "one returns 2\n", "message that -v prints")
	assert.Regexp(t, `\n1 fault in \d+ s, 1 caught and named: 100.0 % caught`, stdout.String())
}

func TestInterrupted(t *testing.T) {
	expectNothingLeft(t)
	root := module(t, map[string]string{"a/hanging": one("^TestOne$", "timed out", "select {}")})
	ctx, cancel := context.WithCancel(t.Context())
	started := filepath.Join(root, "started")
	fault := one("^TestOne$", "timed out", `syscall.Mkfifo("`+started+`", 0o600); os.ReadFile("`+started+`"); return 1`)
	fault = strings.Replace(fault, "--- one.go\n", "--- one.go\n package m\n+import (\"os\"; \"syscall\")\n\n", 1)
	require.NoError(t, os.WriteFile(filepath.Join(root, "scenarios/faults/a/hanging.fault"), []byte(fault), 0o644))
	require.NoError(t, exec.Command("mkfifo", started).Run())
	go func() {
		// The open returns when the test has opened the other end.
		f, err := os.OpenFile(started, os.O_WRONLY, 0)
		if assert.NoError(t, err) {
			cancel()
			<-t.Context().Done()
			f.Close()
		}
	}()
	var stdout, stderr strings.Builder
	assert.Equal(t, 1, run(ctx, root, nil, &stdout, &stderr))
	assert.Equal(t, "faults: context canceled\n", stderr.String())
	assert.Empty(t, stdout.String())
}

func TestStaleFaultEndsTheRun(t *testing.T) {
	root := module(t, map[string]string{
		"a/named": one("^TestOne$", "one", "return 2"),
		"b/stale": strings.Replace(one("^TestOne$", "one", "return 2"), "return 1", "return 7", 1),
	})
	var stdout, stderr strings.Builder
	assert.Equal(t, 2, run(t.Context(), root, []string{"-run", "^a/"}, &stdout, &stderr))
	assert.Equal(t, "faults: b/stale: the fault is stale: one.go has these lines 0 times, not once:\n\treturn 7\n", stderr.String())
}

func TestChoice(t *testing.T) {
	root := module(t, map[string]string{
		"a/first": one("^TestOne$", "one", "return 2"), "a/second": one("^TestSkipped$", "one", "return 3"), "b/third": one("^TestOne$", "one", "return 4"),
	})
	list := func(args ...string) (names []string) {
		t.Helper()
		var stdout, stderr strings.Builder
		require.Equal(t, 0, run(t.Context(), root, append(args, "-list"), &stdout, &stderr), stderr.String())
		for line := range strings.Lines(stdout.String()) {
			name, _, _ := strings.Cut(line, " ")
			names = append(names, name)
		}
		return names
	}
	assert.Equal(t, []string{"a/first", "a/second", "b/third"}, list())
	assert.Equal(t, []string{"a/first", "a/second"}, list("-run", "^a/"), "by directory")
	assert.Equal(t, []string{"a/first", "b/third"}, list("-run", "TestOne"), "by test")
	assert.Len(t, list("-sample", "2"), 2)
	assert.Equal(t, list("-sample", "2", "-seed", "7"), list("-sample", "2", "-seed", "7"), "the same seed")
	assert.Len(t, list("-sample", "9"), 3)
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args, want string
	}{
		{"x", `unexpected argument "x"`},
		{"-sample -1", "-sample -1 is negative"},
		{"-j 0", "-j 0 is less than 1"},
		{"-timeout 0s", "-timeout 0s is not positive"},
		{"-run (", "error parsing regexp"},
		{"-fault x", "flag provided but not defined: -fault"},
	} {
		var stdout, stderr strings.Builder
		assert.Equal(t, 2, run(t.Context(), "", strings.Fields(test.args), &stdout, &stderr))
		assert.Contains(t, stderr.String(), "faults: "+test.want)
		assert.Contains(t, stderr.String(), "(see --help)")
	}
	var stdout, stderr strings.Builder
	assert.Equal(t, 0, run(t.Context(), "", []string{"--help"}, &stdout, &stderr))
	assert.Equal(t, usage, stdout.String())
	assert.Equal(t, 2, run(t.Context(), module(t, map[string]string{"a/first": one("^TestOne$", "one", "return 2")}), []string{"-run", "none"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "faults: no fault matches -run none\n")
}
