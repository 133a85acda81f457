package images

import (
	"errors"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestExplainHost(t *testing.T) {
	boom := errors.New("exit status 1")
	for _, tc := range []struct {
		name, output, cause, cure string
	}{
		{"no network", `I: running apt-get update...
Err:1 http://mirror.example/debian trixie InRelease
  Could not connect to mirror.example:80 (192.0.2.1). - connect (111: Connection refused)
E: Failed to fetch http://mirror.example/debian/dists/trixie/InRelease  Could not connect to mirror.example:80
E: Some index files failed to download. They have been ignored, or old ones used instead.
E: apt-get update --error-on=any -oAPT::Status-Fd=<$fd> -oDpkg::Use-Pty=false failed
E: mmdebstrap failed to run`,
			"the package mirror cannot be reached: E: Failed to fetch http://mirror.example/debian", "VMTEST_MIRROR"},
		{"no name service", "E: Failed to fetch http://m/  Temporary failure resolving 'm'\nE: mmdebstrap failed to run",
			"the package mirror cannot be reached", "connect"},
		{"disk full", "dpkg: error: cannot copy: write error (No space left on device)\nE: setup failed: E: x failed",
			"no space: dpkg: error", "TMPDIR"},
		{"expired", "E: Release file for http://m/InRelease is expired (invalid since 16d 9h). Updates will not be applied.",
			"too old", "VMTEST_ALLOW_EXPIRED_RELEASE=1"},
		{"unknown key", "W: GPG error: http://m trixie InRelease: signatures couldn't be verified: NO_PUBKEY 0E98",
			"key is not known", "debian-archive-keyring"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := explain("mmdebstrap", tc.output, boom)
			var host *HostError
			require.ErrorAs(t, err, &host)
			assert.Contains(t, host.Cause, tc.cause)
			assert.Contains(t, host.Cure, tc.cure)
			assert.Equal(t, tc.output, host.Tail)
			assert.NotContains(t, err.Error(), "\n")
			assert.ErrorIs(t, err, boom)
		})
	}
}

func TestExplainBuild(t *testing.T) {
	err := explain("mmdebstrap", "E: Unable to locate package nonesuch\nE: apt-get install failed\nE: mmdebstrap failed to run", errors.New("x"))
	var build *BuildError
	require.ErrorAs(t, err, &build)
	assert.EqualError(t, err, "run mmdebstrap: E: Unable to locate package nonesuch")

	err = explain("mmdebstrap", "I: a\nE: setup failed: E: command failed: hook\nE: mmdebstrap failed to run", errors.New("x"))
	assert.EqualError(t, err, "run mmdebstrap: E: setup failed: E: command failed: hook")

	err = explain("mmdebstrap", "E: Unable to locate package nonesuch\nE: command failed: set -eu\ncd \"$1\"\nE: mmdebstrap failed to run", errors.New("x"))
	assert.EqualError(t, err, "run mmdebstrap: E: Unable to locate package nonesuch")

	err = explain("mmdebstrap", "E: Unable to locate package linux-image-cloud-amd64\nE: command failed: set -eu", errors.New("x"))
	assert.EqualError(t, err, "run mmdebstrap: the archive has no kernel of this name: E: Unable to locate package linux-image-cloud-amd64 "+
		"(name the package of its kernel in the recipe, such as linux-image-virtual)")

	err = explain("sqfstar", "", errors.New("exit status 7"))
	assert.EqualError(t, err, "run sqfstar: exit status 7")
}

func TestUnknownName(t *testing.T) {
	const want = `unknown image "debian-99": want one of debian-11, debian-12, debian-13, debian-14, or one that was imported`
	o := Options{Cache: t.TempDir()}
	var unknown *UnknownImageError
	_, err := Open(t.Context(), named("debian-99"), o)
	require.ErrorAs(t, err, &unknown)
	assert.EqualError(t, err, want)
	_, err = Build(t.Context(), named("debian-99"), o)
	require.ErrorAs(t, err, &unknown)
	require.ErrorAs(t, Remove(t.Context(), "debian-99", o), &unknown)
	assert.Contains(t, Names(), Default)
}

func TestMissingTools(t *testing.T) {
	t.Setenv("PATH", "")
	cacheDir := t.TempDir()
	_, err := Open(t.Context(), named(Default), Options{Cache: cacheDir})
	var host *HostError
	require.ErrorAs(t, err, &host)
	require.ErrorIs(t, err, exec.ErrNotFound)
	assert.Contains(t, host.Cause, "mmdebstrap, sqfstar")
	assert.Contains(t, host.Cure, `run "vmtest setup", or install mmdebstrap, squashfs-tools`)
	assert.NotContains(t, err.Error(), "\n")
	c, err := openCache(cacheDir)
	require.NoError(t, err)
	assertClean(t, c)
	assert.NoDirExists(t, c.image(Default))
}
