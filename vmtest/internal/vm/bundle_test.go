package vm

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/bundle"
)

// A machine that was kept goes on from there where QEMU is of the same build, and nowhere else.
func TestBundle(t *testing.T) {
	h := newFakeHost(t)
	t.Setenv("VMTEST_ACCEL", "")
	t.Setenv(standInVersion, "QEMU emulator version 7")
	m, first := h.bootFake()
	m.spec.Files.Accel, m.spec.NICs, m.spec.KernelArgs = "tcg", 2, []string{"a=b"}
	first.setCommand(func(args []string) int {
		assert.NotContains(t, []string{"udevadm", "true"}, args[0], "the guest is left as it is")
		return 0
	})
	dir := t.TempDir()
	_, err := m.Bundle(t.Context(), dir, bundle.Info{Test: "TestA"}, false)
	require.NoError(t, err)
	<-m.Done()
	second := <-h.machines
	assert.NotContains(t, second.commands(), "cont")

	s, info, err := OpenBundle(t.Context(), dir)
	require.NoError(t, err)
	defer s.Close()
	assert.Equal(t, "TestA", info.Test)
	assert.Equal(t, m.spec.machine().Cmdline, s.spec.machine().Cmdline)
	assert.Equal(t, "QEMU emulator version 7", info.QEMU.Version)
	fork, err := s.Fork(t.Context(), someInstance())
	require.NoError(t, err)
	defer fork.Close()
	assert.NoError(t, fork.run(t.Context(), "true"))

	t.Setenv(standInVersion, "QEMU emulator version 8")
	_, _, err = OpenBundle(t.Context(), dir)
	require.ErrorAs(t, err, new(*host.Error))
	assert.ErrorContains(t, err, `resume debian-13: QEMU of another version: it was saved by "QEMU emulator version 7", and this host has "QEMU emulator version 8"`)
	t.Setenv(standInVersion, "QEMU emulator version 7")

	describe(t, dir, "args", "other")
	_, _, err = OpenBundle(t.Context(), dir)
	assert.ErrorContains(t, err, "another version of vmtest has saved it")
	describe(t, dir, "accel", "hvf")
	_, _, err = OpenBundle(t.Context(), dir)
	assert.ErrorContains(t, err, `its accelerator is "hvf"`)
}

// describe changes the description of a bundle.
func describe(t *testing.T, dir, key string, value any) {
	path := filepath.Join(dir, bundle.Name, "machine.json")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var info map[string]any
	require.NoError(t, json.Unmarshal(data, &info))
	info[key] = value
	data, err = json.Marshal(info)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// A machine with a disk is not kept, and goes on.
func TestBundleOfAMachineWithADisk(t *testing.T) {
	h := newFakeHost(t)
	m, _ := h.bootFake()
	m.spec.Disk = new(Disk)
	dir := t.TempDir()
	_, err := m.Bundle(t.Context(), dir, bundle.Info{}, false)
	assert.EqualError(t, err, "keep debian-13: machine has Config.Disk; snapshots hold no disk")
	assert.NoError(t, m.run(t.Context(), "true"))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

// A machine whose time is over leaves nothing.
func TestBundleGivenUp(t *testing.T) {
	h := newFakeHost(t)
	m, first := h.bootFake()
	m.spec.Files.Accel = "tcg"
	ctx, cancel := context.WithCancel(t.Context())
	first.on["stop"] = func(json.RawMessage) (any, error) { cancel(); return nil, errors.New("too late") }
	dir := t.TempDir()
	_, err := m.Bundle(ctx, dir, bundle.Info{}, false)
	assert.ErrorIs(t, err, context.Canceled)
	<-m.Done()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

// A machine whose PID 1 does not answer is kept and goes on without it.
func TestBundleOfAStuckMachine(t *testing.T) {
	for _, stuck := range []bool{true, false} {
		h := newFakeHost(t)
		t.Setenv("VMTEST_ACCEL", "")
		h.prepare = func(f *fakeMachine) { f.refusesWake = true } // at the port of PID 1
		m, _ := h.bootFake()
		m.spec.Files.Accel = "tcg"
		dir := t.TempDir()
		_, err := m.Bundle(t.Context(), dir, bundle.Info{}, stuck)
		require.NoError(t, err)
		s, _, err := OpenBundle(t.Context(), dir)
		require.NoError(t, err)
		defer s.Close()
		fork, err := s.Fork(t.Context(), someInstance())
		if !stuck {
			assert.ErrorContains(t, err, "wake guest: not now")
			continue
		}
		require.NoError(t, err)
		defer fork.Close()
		assert.NoError(t, fork.run(t.Context(), "true"))
	}
}
