package images

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// demoDeb has a service that its scripts enable as debhelper's do.
func demoDeb() testDeb {
	return testDeb{
		name:     "vmtest-demo",
		postinst: "set -e\necho \"the script runs with $DEBIAN_FRONTEND\"\ndeb-systemd-helper enable vmtest-demo.service\ndeb-systemd-invoke start vmtest-demo.service\n",
		files: map[string]string{"usr/lib/systemd/system/vmtest-demo.service": "[Service]\nExecStart=/bin/sleep infinity\n" +
			"[Install]\nWantedBy=multi-user.target\n"},
	}
}

const demoLink = "etc/systemd/system/multi-user.target.wants/vmtest-demo.service"

// rootFiles returns the paths in an image's root file system.
func rootFiles(t *testing.T, i *Image) []string {
	t.Helper()
	out, err := exec.Command("unsquashfs", "-l", "-d", "", i.Root()).Output()
	require.NoError(t, err)
	var list []string
	for line := range strings.Lines(string(out)) {
		list = append(list, strings.TrimPrefix(strings.TrimSpace(line), "/"))
	}
	return list
}

func TestBuildWithSource(t *testing.T) {
	needBuilds(t)
	uri, keyring := serveArchive(t, "me", "pass-4711", demoDeb())
	t.Setenv("VMTEST_TEST_LOGIN", "me:pass-4711")
	var texts []string
	o := Options{Cache: t.TempDir(), Progress: func(p Progress) { texts = append(texts, p.Text) }}
	s := Spec{
		Base: Default, Packages: []string{"vmtest-demo"}, NoAutostart: true,
		Sources: []Source{{URI: uri, Suite: "./", Keyring: keyring, AuthEnv: "VMTEST_TEST_LOGIN"}},
	}
	image, err := Open(t.Context(), s, o)
	require.NoError(t, err)
	assert.Equal(t, []string{"vmtest-demo"}, image.Added)
	assert.Contains(t, image.Packages, Package{Name: "vmtest-demo", Version: "1.0", Arch: "all"})
	files := rootFiles(t, image)
	assert.Contains(t, files, "usr/lib/systemd/system/vmtest-demo.service")
	assert.Contains(t, files, "etc/systemd/system/multi-user.target.wants", "units of the base are enabled")
	assert.NotContains(t, files, demoLink)
	assert.Contains(t, texts, "the script runs with noninteractive")

	// The login is nowhere. The root file system is not compressed.
	assert.NotContains(t, strings.Join(texts, "\n"), "pass-4711")
	require.NoError(t, filepath.WalkDir(o.Cache, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.False(t, strings.Contains(string(text), "pass-4711"), path)
		}
		return err
	}))

	t.Setenv("VMTEST_TEST_LOGIN", "me:wrong-4712")
	again, err := Open(t.Context(), s, o)
	require.NoError(t, err, "the cache has it")
	assert.Equal(t, image.Digest, again.Digest)
	_, err = Build(t.Context(), s, o)
	var lacks *HostError
	require.ErrorAs(t, err, &lacks)
	assert.Contains(t, lacks.Cause, "a package source refuses the login: ")
	assert.NotContains(t, lacks.Cause+lacks.Tail, "wrong-4712")
}

// What apt reports about the packages is in the error, before any is downloaded, and
// nothing is kept.
func TestBuildWithBadPackages(t *testing.T) {
	needBuilds(t)
	for want, s := range map[string]Spec{
		"Unable to locate package nonesuch":           {Packages: []string{"nonesuch"}},
		"Version '9.9' for 'rpcbind' was not found":   {Packages: []string{"rpcbind=9.9"}, NoAutostart: true},
		"postfix : Conflicts: mail-transport-agent":   {Packages: []string{"exim4-daemon-light", "postfix"}},
		"systemd-sysv : Conflicts: sysvinit-core":     {Packages: []string{"sysvinit-core"}},
		"Depends: nonesuch (>= 2)":                    {Packages: []string{"rpcbind"}, depends: []string{"nonesuch (>= 2)"}},
		"Release 'sarge' for 'rpcbind' was not found": {Packages: []string{"rpcbind/sarge"}},
	} {
		s.Base = Default
		o := Options{Cache: t.TempDir(), Progress: func(p Progress) {
			assert.NotContains(t, []Stage{Downloading, Installing}, p.Stage, "%s: %s", want, p.Text)
		}}
		_, err := Open(t.Context(), s, o)
		var build *BuildError
		require.ErrorAs(t, err, &build, want)
		assert.Contains(t, build.Cause, want)
		assert.NotContains(t, err.Error(), "\n")
		c, err := openCache(o.Cache)
		require.NoError(t, err)
		assert.Empty(t, c.files(t))
	}
}

// sleeper is a command that no other process of the host runs.
type sleeper struct{ command string }

// newSleeper returns a sleeper, and asserts that count would see it.
func newSleeper(t *testing.T) sleeper {
	t.Helper()
	s := sleeper{fmt.Sprintf("sleep 98765.%d", os.Getpid())}
	args := strings.Fields(s.command)
	cmd := exec.Command(args[0], args[1:]...)
	require.NoError(t, cmd.Start()) // returns after its exec
	assert.Equal(t, 1, s.count(t))
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	assert.Zero(t, s.count(t))
	return s
}

// count returns how many processes of the host run the command, those in PID namespaces
// too.
func (s sleeper) count(t *testing.T) int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	n := 0
	for _, dir := range dirs {
		args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil && strings.ReplaceAll(strings.TrimRight(string(args), "\x00"), "\x00", " ") == s.command {
			n++
		}
	}
	return n
}

func TestBuildWithDebs(t *testing.T) {
	needBuilds(t)
	dir := t.TempDir()
	var texts []string
	o := Options{Cache: t.TempDir(), Progress: func(p Progress) { texts = append(texts, p.Text) }}
	d := demoDeb()
	d.depends = "systemd, libc6 (>= 2.0) | nonesuch"
	// What a script starts does not outlive the build, on the host least of all.
	asleep := newSleeper(t)
	d.postinst += "setsid " + asleep.command + " >/dev/null 2>&1 </dev/null &\nkill -0 $! && echo it sleeps\nread answer || echo nobody answers\n"
	path := d.make(t, dir)
	image, err := Open(t.Context(), Spec{Base: Default, Debs: []string{path}}, o)
	require.NoError(t, err)
	require.Len(t, image.Debs, 1)
	assert.Equal(t, "vmtest-demo 1.0", image.Debs[0].Name+" "+image.Debs[0].Version)
	assert.Contains(t, image.Packages, Package{Name: "vmtest-demo", Version: "1.0", Arch: "all"})
	files := rootFiles(t, image)
	assert.Contains(t, files, demoLink)
	assert.NotContains(t, files, "tmp/debs")
	base, err := Open(t.Context(), named(Default), o)
	require.NoError(t, err)
	assert.Subset(t, files, rootFiles(t, base))
	assert.Len(t, image.Packages, len(base.Packages)+1)
	assert.Equal(t, base.KernelVersion, image.KernelVersion)
	assert.Equal(t, base.Modules, image.Modules)
	assert.Contains(t, texts, "it sleeps")
	assert.Contains(t, texts, "nobody answers")
	assert.Zero(t, asleep.count(t))

	d.version = "1.1"
	path = d.make(t, dir)
	begin := time.Now()
	again, err := Open(t.Context(), Spec{Base: Default, Debs: []string{path}, NoAutostart: true}, o)
	require.NoError(t, err)
	t.Logf("a new build of the package takes %v", time.Since(begin))
	assert.Equal(t, "1.1", again.Debs[0].Version)
	files = rootFiles(t, again)
	assert.Contains(t, files, "usr/lib/systemd/system/vmtest-demo.service")
	assert.NotContains(t, files, demoLink)

	for want, spoil := range map[string]func(*testDeb){
		"build image debian-13 with vmtest-demo.deb: run mmdebstrap: package vmtest-demo: installed vmtest-demo package " +
			"post-installation script subprocess returned error exit status 3: it cannot work here": func(d *testDeb) {
			d.postinst = "echo it cannot work here\nexit 3\n"
		},
		"build image debian-13 with vmtest-demo.deb: add what vmtest-demo depends on: " +
			"build image debian-13 with nonesuch (>= 2): run mmdebstrap: unmet dependencies: ": func(d *testDeb) { d.depends = "nonesuch (>= 2)" },
	} {
		bad := demoDeb()
		spoil(&bad)
		_, err := Open(t.Context(), Spec{Base: Default, Debs: []string{bad.make(t, dir)}}, o)
		require.ErrorAs(t, err, new(*BuildError))
		assert.True(t, strings.HasPrefix(err.Error(), want), err.Error())
		assert.NotContains(t, err.Error(), "\n")
	}
	c, err := openCache(o.Cache)
	require.NoError(t, err)
	hangs := demoDeb()
	hangs.postinst = asleep.command + "\n"
	b, err := newBuilder(mustComplete(t, Spec{Base: Default, Debs: []string{hangs.make(t, dir)}}), o, c)
	require.NoError(t, err)
	b.silence = 20 * time.Second
	_, err = c.open(t.Context(), b.name, b.inputs, &reporter{}, b.build)
	assert.ErrorContains(t, err, `no output for 20s after "Setting up vmtest-demo (1.0) ..."`)
	assert.Zero(t, asleep.count(t))
	list, err := List(o)
	require.NoError(t, err)
	assert.Len(t, list, 3, "nothing is kept of what failed")
	assertClean(t, c)
}
