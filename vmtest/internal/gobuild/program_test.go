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

	"example.org/systemd-vmtest/internal/host"
)

// silent is for what has nothing to tell a person.
func silent(t *testing.T) func(string) {
	return func(text string) { t.Error("unexpected notice:", text) }
}

// smallModule makes a command the current folder, and an empty cache in it.
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

// A program in the cache that was altered, cut short or removed is built anew, and
// so is one whose digest was: what a guest gets is what the go command made.
func TestSpoiledProgramIsBuiltAnew(t *testing.T) {
	dir := smallModule(t)
	want, err := Program(t.Context(), ".", runtime.GOARCH, silent(t))
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
		{"program gone", func() error { return os.Remove(program) }},
		{"another one in its place", func() error {
			return os.WriteFile(program, []byte("#!/bin/sh\necho hello\n"), 0o700)
		}},
		{"byte of the digest flipped", func() error { return flip(sums[0]) }},
		{"digest truncated", func() error { return os.Truncate(sums[0], 7) }},
		{"digest gone", func() error { return os.Remove(sums[0]) }},
		{"lock written to", func() error { return os.WriteFile(program+".lock", []byte("x"), 0o600) }},
	} {
		require.NoError(t, tc.spoil(), tc.name)
		got, err := Program(t.Context(), ".", runtime.GOARCH, silent(t))
		require.NoError(t, err, tc.name)
		assert.True(t, string(want) == string(got), "%s: another program", tc.name)
		sum, err := os.ReadFile(sums[0])
		require.NoError(t, err, tc.name)
		assert.Equal(t, digest(want), string(sum), tc.name)
	}
}

// A program runs on the guest's processor, whatever the user builds for otherwise.
func TestProgramIsForTheGuestsProcessor(t *testing.T) {
	smallModule(t)
	t.Setenv("GOAMD64", "v3")
	t.Setenv("GOARM64", "v9.0")
	want := map[string]debug.BuildSetting{
		"amd64": {Key: "GOAMD64", Value: "v1"},
		"arm64": {Key: "GOARM64", Value: "v8.0"},
	}[runtime.GOARCH]
	program, err := Program(t.Context(), ".", runtime.GOARCH, silent(t))
	require.NoError(t, err)
	info, err := buildinfo.Read(bytes.NewReader(program))
	require.NoError(t, err)
	assert.Contains(t, info.Settings, want)
}

// A program is built by the user's flags, less those that would make it of no use in
// a guest; the agent by none.
func TestUsersFlags(t *testing.T) {
	dir := smallModule(t)
	const tagged = "//go:build special\n\npackage main\n\nimport _ \"example.org/small/special\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "special.go"), []byte(tagged), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "special"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "special", "doc.go"), []byte("package special\n"), 0o600))
	plain, err := Program(t.Context(), ".", runtime.GOARCH, silent(t))
	require.NoError(t, err)

	t.Setenv("GOFLAGS", "") // or it would hide what stands in the file
	env := filepath.Join(dir, "env")
	for _, bad := range []string{"-race", "-msan", "-asan", "-linkshared", "-buildmode=pie", "-buildmode=c-archive", "-ldflags=-linkmode=external"} {
		require.NoError(t, os.WriteFile(env, []byte("GOFLAGS="+bad+"\n"), 0o600))
		t.Setenv("GOENV", env)
		got, err := Program(t.Context(), ".", runtime.GOARCH, silent(t))
		require.NoError(t, err, bad)
		assert.True(t, bytes.Equal(plain, got), "%s: another program", bad)
	}

	require.NoError(t, os.WriteFile(env, []byte("GOFLAGS=-tags=special\n"), 0o600))
	got, err := Program(t.Context(), ".", runtime.GOARCH, silent(t))
	require.NoError(t, err)
	info, err := buildinfo.Read(bytes.NewReader(got))
	require.NoError(t, err)
	assert.Contains(t, info.Settings, debug.BuildSetting{Key: "-tags", Value: "special"})
	files, err := sources(t.Context(), ".", runtime.GOARCH)
	require.NoError(t, err)
	assert.Contains(t, files, filepath.Join(dir, "special", "doc.go"))

	for _, flags := range []string{"", "-tags=special"} {
		t.Setenv("GOFLAGS", flags)
		cmd := exec.CommandContext(t.Context(), "go", "env", "GOFLAGS")
		cmd.Env = buildEnv(agentPackage, runtime.GOARCH)
		out, err := cmd.Output()
		require.NoError(t, err)
		assert.NotContains(t, string(out), "special")
	}
}

// A package that is no command comes into no guest.
func TestProgramThatIsNone(t *testing.T) {
	smallModule(t)
	require.NoError(t, os.WriteFile("main.go", []byte("package small\n"), 0o600))
	for range 2 { // it is up to date then
		_, err := Program(t.Context(), ".", runtime.GOARCH, silent(t))
		assert.EqualError(t, err, "build . for the guest: it is no command: its package is not called main")
	}
}

// What is in the way of removing an unused program is told, and fails no build.
func TestBuildOutlivesCleanUp(t *testing.T) {
	dir := smallModule(t)
	old := filepath.Join(dir, "cache", "go", "old")
	require.NoError(t, os.MkdirAll(filepath.Join(old, "file"), 0o700), "os.Remove does not remove a folder with something in it")
	require.NoError(t, os.WriteFile(old+lockSuffix, nil, 0o600))
	year := time.Now().AddDate(-1, 0, 0)
	require.NoError(t, os.Chtimes(old, year, year))
	var said []string
	program, err := Program(t.Context(), ".", runtime.GOARCH, func(text string) { said = append(said, text) })
	require.NoError(t, err)
	assert.NotEmpty(t, program)
	require.Len(t, said, 1)
	assert.Contains(t, said[0], "cannot remove unused programs: ")
	assert.Contains(t, said[0], old)
}

// A build that is ended leaves none of the go command's temporary files.
func TestEndedBuildLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	// A go command that makes its folder as the real one does, and is never done.
	const fake = "#!/bin/sh\ntest \"$1\" = list && exit\nmkdir $GOTMPDIR/go-build1 $PWD/building && exec sleep 60\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte(fake), 0o700))
	t.Chdir(dir)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("VMTEST_CACHE", filepath.Join(dir, "cache"))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(dir, "building")); err == nil {
				cancel()
			}
			time.Sleep(10 * time.Millisecond) // there is no event that is worth its code
		}
	}()
	_, err := Program(ctx, "./pkg", runtime.GOARCH, silent(t))
	require.ErrorIs(t, err, context.Canceled)
	left, err := filepath.Glob(filepath.Join(dir, "cache", "go", "*"+workSuffix))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// A full disk under the go command is said as what it is, with the cure, in a line.
func TestGoProgramOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	// A go command as on a full disk.
	const fake = "#!/bin/sh\necho '# pkg'\necho 'pkg: write /tmp/go-build1/b001/importcfg.link: no space left on device'\nexit 1\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte(fake), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("VMTEST_CACHE", filepath.Join(dir, "cache"))
	_, err := Program(t.Context(), "./pkg", runtime.GOARCH, silent(t))
	var host *host.Error
	require.ErrorAs(t, err, &host)
	assert.Equal(t, "no space: build ./pkg for the guest: pkg: write /tmp/go-build1/b001/importcfg.link: no space left on device", host.Cause)
	assert.Contains(t, host.Cure, "GOCACHE")
	assert.NotContains(t, err.Error(), "\n")
}
