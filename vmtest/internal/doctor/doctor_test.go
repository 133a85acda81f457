package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// An examination that does not end is reported by the end of its time, in its place, and
// those that ended before are reported as they are.
func TestExamineWithoutAnEnd(t *testing.T) {
	stuck := make(chan struct{})
	defer close(stuck)
	late := errors.New("not known after a moment")
	ctx, cancel := context.WithCancelCause(t.Context())
	var got []Finding
	require.NoError(t, examine(ctx, []examination{
		{check: host.QEMU, look: func(context.Context) Finding { return Finding{State: OK, Found: "7.2"} }},
		{check: host.KVM, look: func(context.Context) Finding { cancel(late); <-stuck; return Finding{} }, late: "try again"},
	}, func(f Finding) { got = append(got, f) }))
	assert.Equal(t, host.QEMU, got[0].Check)
	assert.Equal(t, Finding{Check: host.KVM, State: Note, Found: "not known after a moment", Cure: "try again"}, got[1])
}

func TestExamineInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, examine(ctx, nil, nil), context.Canceled)
}

func TestCacheFindings(t *testing.T) {
	root := filepath.Join(t.TempDir(), "above", "cache")
	t.Setenv("VMTEST_CACHE", root)
	assert.Equal(t, Finding{State: OK, Found: root + " is not there yet; the first guest makes it"}, cache(t.Context()))
	require.NoError(t, os.MkdirAll(root, 0o700))
	assert.Equal(t, Finding{State: OK, Found: root + ": 0 images"}, cache(t.Context()))
	require.NoError(t, os.Mkdir(filepath.Join(root, "images"), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(root, "images", "debian-13"), 0o700))
	damaged := cache(t.Context())
	assert.Equal(t, Note, damaged.State)
	assert.Contains(t, damaged.Found, "image debian-13: ")
	assert.Contains(t, damaged.Cure, "vmtest image rm")
	require.NoError(t, os.Chmod(root, 0o777))
	open := cache(t.Context())
	assert.Equal(t, Fault, open.State)
	assert.Contains(t, open.Cure, "chmod -R go-w "+root)
	t.Setenv("VMTEST_CACHE", "cache")
	assert.Equal(t, Finding{State: Fault, Found: `VMTEST_CACHE is "cache", not an absolute path`,
		Cure: "set VMTEST_CACHE to a path that begins with /"}, cache(t.Context()))
}

// A cache that cannot be made is a fault, also of root, who may write everywhere.
func TestCacheThatCannotBeMade(t *testing.T) {
	t.Setenv("VMTEST_CACHE", "/proc/vmtest/cache")
	found := cache(t.Context())
	assert.Equal(t, Fault, found.State, "%+v", found)
	assert.Contains(t, found.Found, "/proc/vmtest/cache is not there, and cannot be made: ")
	assert.Contains(t, found.Cure, "set VMTEST_CACHE")
}

// The cure of unusable snapshots removes all of them.
func TestUnusableSnapshots(t *testing.T) {
	cut := errors.New("cut short")
	assert.Equal(t, Finding{State: Note, Found: "here; snapshot 0123456789ab is unusable: cut short; snapshot 1123456789ab is unusable: cut short",
		Cure: "run vmtest snapshot rm 0123456789ab 1123456789ab"},
		withFaults("here", []snapshots.Listed{
			{Info: snapshots.Info{Key: "0123456789abcdef"}, Fault: cut},
			{Info: snapshots.Info{Key: "2123456789abcdef"}},
			{Info: snapshots.Info{Key: "1123456789abcdef"}, Fault: cut},
		}))
}

// A directory whose free space cannot be found has a cure.
func TestDiskFindings(t *testing.T) {
	t.Setenv("VMTEST_CACHE", t.TempDir())
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	found := disk(t.Context())
	assert.Contains(t, found.Found, "find free space: statfs ")
	assert.Equal(t, "set TMPDIR to a directory where this user can write", found.Cure)
}

func TestMemoryFindings(t *testing.T) {
	t.Setenv("VMTEST_SLOTS", "1")
	assert.Regexp(t, `^\d+ MiB available; 1 guest may run at once, each with 712 MiB$`, memory(t.Context()).Found)
	t.Setenv("VMTEST_SLOTS", "100000")
	assert.Equal(t, Note, memory(t.Context()).State, "no host has memory for 100000 guests")
	t.Setenv("VMTEST_SLOTS", "some")
	assert.Equal(t, Fault, memory(t.Context()).State)
}

func TestKVMFindings(t *testing.T) {
	t.Setenv("VMTEST_ACCEL", "tcg")
	assert.Equal(t, Finding{State: Note, Found: "VMTEST_ACCEL=tcg: guests are emulated, and take several times as long",
		Cure: "unset VMTEST_ACCEL"}, kvm(t.Context()))
	t.Setenv("VMTEST_ACCEL", "KVM")
	assert.Equal(t, Finding{State: Fault, Found: `VMTEST_ACCEL is "KVM", not kvm, tcg or auto`, Cure: "unset VMTEST_ACCEL"}, kvm(t.Context()))

	assert.Equal(t, Finding{State: Fault, Found: "VMTEST_ACCEL=kvm, but no device", Cure: "unset VMTEST_ACCEL"}, forced(errors.New("no device")))
	assert.Equal(t, Finding{State: Note, Found: "VMTEST_ACCEL=kvm: not tried whether it runs a guest",
		Cure: "unset VMTEST_ACCEL, and run vmtest doctor again"}, forced(nil), "a device that can be opened is no proof")
}

// A trial of KVM that something else prevents refers to the line about that. It is no fault of
// KVM then, and any other error is one, because no guest of the image runs.
func TestKVMUntried(t *testing.T) {
	assert.Equal(t, Finding{State: Note, Found: "not tried: see agent"},
		untried("debian-13", fmt.Errorf("open: %w", &host.Error{Cause: "no go command", Cure: "install", Check: host.Agent})))
	assert.Equal(t, Finding{State: Fault, Found: "try KVM with debian-13: no\tkernel; no root"}, untried("debian-13", errors.New("no\tkernel\nno root\n")))
}

// The trial needs an agent, whose line has the reason why there is none.
func TestKVMWithoutAgent(t *testing.T) {
	t.Setenv("VMTEST_CACHE", filepath.Join(t.TempDir(), "cache"))
	t.Setenv("VMTEST_AGENT", filepath.Join(t.TempDir(), "agent"))
	t.Setenv("PATH", t.TempDir()) // so that no image is built
	assert.Equal(t, Finding{State: Note, Found: "not tried: see agent"}, try(t.Context(), "debian-13"))
}

// Without an agent no guest runs.
func TestAgentFindings(t *testing.T) {
	t.Setenv("VMTEST_CACHE", filepath.Join(t.TempDir(), "cache"))
	t.Setenv("VMTEST_AGENT", "")
	t.Setenv("VMTEST_GO_PREBUILT", "")
	t.Setenv("PATH", t.TempDir())
	lacking := agent(t.Context())
	assert.Equal(t, Fault, lacking.State)
	assert.Equal(t, "build the guest's agent: no go command on PATH", lacking.Found)
	assert.Contains(t, lacking.Cure, "add it to PATH, or set VMTEST_AGENT")
	t.Setenv("VMTEST_CACHE", "cache")
	assert.Equal(t, Finding{State: Fault, Found: "not built: see cache"}, agent(t.Context()))
	path := filepath.Join(t.TempDir(), "agent")
	t.Setenv("VMTEST_AGENT", path)
	assert.Equal(t, Finding{State: Fault, Found: "read VMTEST_AGENT: open " + path + ": no such file or directory", Cure: "unset VMTEST_AGENT"}, agent(t.Context()))
}

// An older go command is found by its version.
func TestGoFindings(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	assert.Equal(t, "no go command on PATH: tests cannot be built", goCommand(t.Context()).Found)
	path := filepath.Join(dir, "go")
	for version, want := range map[string]Finding{
		"go1.26.1":  {State: OK, Found: "go1.26.1, " + path},
		"go1.30":    {State: OK, Found: "go1.30, " + path},
		"go1.25.12": {State: Note, Found: "go1.25.12, " + path + ": older than go1.26, which a module that needs it makes the go command download, unless GOTOOLCHAIN=local", Cure: "install go1.26 or later, and add it to PATH"},
	} {
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\necho "+version+"\n"), 0o700))
		assert.Equal(t, want, goCommand(t.Context()))
	}
}

// What is there but does not work is not cured by an installation of nothing.
func TestInstallationOfNothing(t *testing.T) {
	assert.Empty(t, installation(func(host.Tool) bool { return false }))
}
