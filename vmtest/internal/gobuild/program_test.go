package gobuild

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/ordinary"
)

// noNotice returns a notice function that fails the test.
func noNotice(t *testing.T) func(string) {
	return func(text string) { t.Error("unexpected notice:", text) }
}

// smallModule makes a module with a command, and changes to its directory. It sets
// VMTEST_CACHE to a directory there.
func smallModule(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.org/small\n\ngo 1.26\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o600))
	t.Chdir(dir)
	t.Setenv("VMTEST_CACHE", filepath.Join(dir, "cache"))
	t.Setenv("VMTEST_GO_PREBUILT", "")
	return dir
}

// A program in the cache is built again after it or its digest was altered, truncated
// or removed.
func TestAlteredProgramIsRebuilt(t *testing.T) {
	dir := smallModule(t)
	want, err := Program(t.Context(), ".", runtime.GOARCH, noNotice(t))
	require.NoError(t, err)
	sums, err := filepath.Glob(filepath.Join(dir, "cache", "go", "*.sha256"))
	require.NoError(t, err)
	require.Len(t, sums, 1)
	program := sums[0][:len(sums[0])-len(".sha256")]

	flip := func(path string) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data[len(data)/2] ^= 0xff
		return os.WriteFile(path, data, 0o700)
	}
	for _, tc := range []struct {
		name  string
		spoil func() error
	}{
		{"byte of the program flipped", func() error { return flip(program) }},
		{"program truncated", func() error { return os.Truncate(program, int64(len(want)/2)) }},
		{"program emptied", func() error { return os.Truncate(program, 0) }},
		{"program removed", func() error { return os.Remove(program) }},
		{"program replaced", func() error {
			return os.WriteFile(program, []byte("#!/bin/sh\necho hello\n"), 0o700)
		}},
		{"byte of the digest flipped", func() error { return flip(sums[0]) }},
		{"digest truncated", func() error { return os.Truncate(sums[0], 7) }},
		{"digest removed", func() error { return os.Remove(sums[0]) }},
		{"lock written to", func() error { return os.WriteFile(program+".lock", []byte("x"), 0o600) }},
	} {
		require.NoError(t, tc.spoil(), tc.name)
		got, err := Program(t.Context(), ".", runtime.GOARCH, noNotice(t))
		require.NoError(t, err, tc.name)
		assert.True(t, string(want) == string(got), "%s: program differs", tc.name)
		sum, err := os.ReadFile(sums[0])
		require.NoError(t, err, tc.name)
		assert.Equal(t, digest(want), string(sum), tc.name)
	}
}

// The environment of the user does not select a processor that the guest lacks.
func TestProgramFitsGuestProcessor(t *testing.T) {
	smallModule(t)
	t.Setenv("GOAMD64", "v3")
	t.Setenv("GOARM64", "v9.0")
	want := map[string]debug.BuildSetting{
		"amd64": {Key: "GOAMD64", Value: "v1"},
		"arm64": {Key: "GOARM64", Value: "v8.0"},
	}[runtime.GOARCH]
	program, err := Program(t.Context(), ".", runtime.GOARCH, noNotice(t))
	require.NoError(t, err)
	info, err := buildinfo.Read(bytes.NewReader(program))
	require.NoError(t, err)
	assert.Contains(t, info.Settings, want)
}

// GOFLAGS apply to a program, except for those that a guest cannot run with. They do
// not apply to the agent.
func TestGoFlags(t *testing.T) {
	dir := smallModule(t)
	const tagged = "//go:build special\n\npackage main\n\nimport _ \"example.org/small/special\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "special.go"), []byte(tagged), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "special"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "special", "doc.go"), []byte("package special\n"), 0o600))
	plain, err := Program(t.Context(), ".", runtime.GOARCH, noNotice(t))
	require.NoError(t, err)

	t.Setenv("GOFLAGS", "") // a value would override the file
	env := filepath.Join(dir, "env")
	for _, bad := range []string{"-race", "-msan", "-asan", "-linkshared", "-buildmode=pie", "-buildmode=c-archive", "-ldflags=-linkmode=external"} {
		require.NoError(t, os.WriteFile(env, []byte("GOFLAGS="+bad+"\n"), 0o600))
		t.Setenv("GOENV", env)
		got, err := Program(t.Context(), ".", runtime.GOARCH, noNotice(t))
		require.NoError(t, err, bad)
		assert.True(t, bytes.Equal(plain, got), "%s: program differs", bad)
	}

	require.NoError(t, os.WriteFile(env, []byte("GOFLAGS=-tags=special\n"), 0o600))
	got, err := Program(t.Context(), ".", runtime.GOARCH, noNotice(t))
	require.NoError(t, err)
	info, err := buildinfo.Read(bytes.NewReader(got))
	require.NoError(t, err)
	assert.Contains(t, info.Settings, debug.BuildSetting{Key: "-tags", Value: "special"})
	files, err := sources(t.Context(), ".", runtime.GOARCH)
	require.NoError(t, err)
	assert.Contains(t, files, filepath.Join(dir, "special")+inPackage+"doc.go")

	for _, flags := range []string{"", "-tags=special"} {
		t.Setenv("GOFLAGS", flags)
		cmd := exec.CommandContext(t.Context(), "go", "env", "GOFLAGS")
		cmd.Env = buildEnv(agentPackage, runtime.GOARCH)
		out, err := cmd.Output()
		require.NoError(t, err)
		assert.NotContains(t, string(out), "special")
	}
}

func TestPackageIsNotMain(t *testing.T) {
	smallModule(t)
	require.NoError(t, os.WriteFile("main.go", []byte("package small\n"), 0o600))
	for range 2 { // the second build finds the archive up to date
		_, err := Program(t.Context(), ".", runtime.GOARCH, noNotice(t))
		assert.EqualError(t, err, "build . for the guest: not a command: package is not main")
	}
}

// Program reports an unused program that it cannot remove, and returns its result.
func TestNoticeOfFailedCleanUp(t *testing.T) {
	dir := smallModule(t)
	old := filepath.Join(dir, "cache", "go", "old")
	require.NoError(t, os.MkdirAll(filepath.Join(old, "file"), 0o700), "make directory that os.Remove refuses")
	require.NoError(t, os.WriteFile(old+lockSuffix, nil, 0o600))
	year := time.Now().AddDate(-1, 0, 0)
	require.NoError(t, os.Chtimes(old, year, year))
	var notices []string
	program, err := Program(t.Context(), ".", runtime.GOARCH, func(text string) { notices = append(notices, text) })
	require.NoError(t, err)
	assert.NotEmpty(t, program)
	require.Len(t, notices, 1)
	assert.Contains(t, notices[0], "cannot remove unused programs: ")
	assert.Contains(t, notices[0], old)
}

// A canceled build leaves none of the go command's temporary files.
func TestCanceledBuildLeavesNoFiles(t *testing.T) {
	dir := t.TempDir()
	// A fake go command makes its directory as the real one does, and then hangs.
	const fake = "#!/bin/sh\ntest \"$1\" = list && exit\nmkdir $GOTMPDIR/go-build1 && : >building && exec sleep infinity\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte(fake), 0o700))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "building"), 0o600))
	t.Chdir(dir)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("VMTEST_CACHE", filepath.Join(dir, "cache"))
	t.Setenv("VMTEST_GO_PREBUILT", "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, err := os.ReadFile("building") // returns when the build has opened and closed it
		assert.NoError(t, err)
		cancel()
	}()
	_, err := Program(ctx, "./pkg", runtime.GOARCH, noNotice(t))
	require.ErrorIs(t, err, context.Canceled)
	left, err := filepath.Glob(filepath.Join(dir, "cache", "go", "*"+workSuffix))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// A canceled build does not wait for the lock of another build.
func TestCanceledWaitForBuild(t *testing.T) {
	dir := smallModule(t)
	cache := filepath.Join(dir, "cache", "go")
	require.NoError(t, os.MkdirAll(cache, 0o700))
	path := filepath.Join(cache, cacheName(dir, ".", runtime.GOARCH)+lockSuffix)
	lock, err := host.LockFile(t.Context(), path, nil)
	require.NoError(t, err)
	defer lock.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Program(ctx, ".", runtime.GOARCH, noNotice(t))
	assert.ErrorIs(t, err, context.Canceled)
	assert.EqualError(t, err, "build .: lock "+path+": context canceled")
}

// An error about a file of another user in the cache names VMTEST_CACHE.
func TestFileOfAnotherUserInCache(t *testing.T) {
	dir := smallModule(t)
	cache := filepath.Join(dir, "cache", "go")
	work := filepath.Join(cache, cacheName(dir, ".", runtime.GOARCH)+workSuffix)
	require.NoError(t, os.MkdirAll(filepath.Join(work, "go-build1"), 0o700))
	require.NoError(t, os.Chmod(work, 0o500))
	t.Cleanup(func() { os.Chmod(work, 0o700) })
	err := ordinary.Run([]string{dir, filepath.Dir(cache), cache}, func() error {
		_, err := Program(t.Context(), ".", runtime.GOARCH, noNotice(t))
		return err
	})
	var lacks *host.Error
	require.ErrorAs(t, err, &lacks)
	assert.ErrorIs(t, err, os.ErrPermission)
	assert.Contains(t, lacks.Cure, "VMTEST_CACHE")
	assert.NotContains(t, err.Error(), "\n")
}

// A build on a full disk returns a *host.Error with the cure.
func TestBuildOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	// A fake go command prints what the real one does on a full disk.
	const fake = "#!/bin/sh\necho '# pkg'\necho 'pkg: write /tmp/go-build1/b001/importcfg.link: no space left on device'\nexit 1\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte(fake), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("VMTEST_CACHE", filepath.Join(dir, "cache"))
	_, err := Program(t.Context(), "./pkg", runtime.GOARCH, noNotice(t))
	var lacks *host.Error
	require.ErrorAs(t, err, &lacks)
	assert.Equal(t, "no space: build ./pkg for the guest: pkg: write /tmp/go-build1/b001/importcfg.link: no space left on device", lacks.Cause)
	assert.Contains(t, lacks.Cure, "GOCACHE")
	assert.NotContains(t, err.Error(), "\n")
}
