package images

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// simulate runs the hook of a build as mmdebstrap does, with an archive of two suites. Their
// lists are all that it has.
func simulate(t *testing.T, b *builder, one, two string) (output string, err error) {
	t.Helper()
	root := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	for _, dir := range []string{"etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	var list strings.Builder
	for suite, packages := range map[string]string{"one": one, "two": two} {
		write("archive/dists/"+suite+"/Release", fmt.Sprintf("Suite: %s\nCodename: %s\nComponents: main\nArchitectures: %s\n", suite, suite, runtime.GOARCH))
		write("archive/dists/"+suite+"/main/binary-"+runtime.GOARCH+"/Packages", packages)
		fmt.Fprintf(&list, "deb [trusted=yes] copy:%s/archive %s main\n", root, suite)
	}
	write("etc/apt/sources.list", list.String())
	write("etc/apt/preferences", "Package: *\nPin: release a=two\nPin-Priority: 1\n") // as for experimental
	write("var/lib/dpkg/status", "")
	config := filepath.Join(root, "apt.conf")
	write("apt.conf", fmt.Sprintf("Dir %q;\nDir::State::status %q;\nAPT::Architecture %q;\nAPT::Architectures { %q; };\nAPT::Sandbox::User \"\";\n",
		root, filepath.Join(root, "var/lib/dpkg/status"), runtime.GOARCH, runtime.GOARCH))
	hook, found := strings.CutPrefix(b.simulateHook(), "--setup-hook=")
	require.True(t, found)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", hook, "exec", root)
	cmd.Env = append(os.Environ(), "MMDEBSTRAP_APT_CONFIG="+config, "LC_ALL=C.UTF-8")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

// listed returns the entry of a package in an archive's list.
func listed(name, version string, more ...string) string {
	return fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: A Test <test@example.org>\nFilename: pool/%s.deb\nSize: 1\nSHA256: %064d\n%s\n\n",
		name, version, runtime.GOARCH, name, 1, strings.Join(append(more, "Description: test"), "\n"))
}

// The search for packages finds what each step of the build finds: the essential packages
// are installed when the others are looked for, and the base when others are added later.
func TestSimulate(t *testing.T) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no apt-get here, with which images are built: install apt")
	}
	one := listed("core", "1", "Essential: yes", "Depends: libcore (<< 2)") + listed("libcore", "1") +
		listed("rival", "1", "Conflicts: core") + listed("loud", "1", "Depends: quiet (>= 2)") + listed("quiet", "1")
	for _, name := range packages("kernel") {
		one += listed(name, "1")
	}
	two := listed("libcore", "2") + listed("app", "2", "Depends: libcore")
	for _, tc := range []struct {
		spec Spec
		want string // of the error's cause
	}{
		{spec: Spec{}},
		{spec: Spec{Packages: []string{"app/two"}}},
		{spec: Spec{Packages: []string{"app/two"}, NoAutostart: true}},
		{spec: Spec{depends: []string{"systemd", "libcore (>= 1)"}}},
		{spec: Spec{Packages: []string{"nonesuch"}}, want: "E: Unable to locate package nonesuch"},
		{spec: Spec{Packages: []string{"nonesuch"}, NoAutostart: true}, want: "E: Unable to locate package nonesuch"},
		{spec: Spec{Packages: []string{"loud"}}, want: "unmet dependencies: loud : Depends: quiet (>= 2) but it is not going to be installed"},
		{spec: Spec{Packages: []string{"rival"}}, want: "unmet dependencies: rival : Conflicts: core but 1 is to be installed"},
		{spec: Spec{Packages: []string{"quiet=3"}}, want: "E: Version '3' for 'quiet' was not found"},
		{spec: Spec{depends: []string{"nonesuch (>= 2)"}}, want: "unmet dependencies: satisfy:command-line : Depends: nonesuch (>= 2) but it is not installable"},
	} {
		b := &builder{plan: &plan{recipe: Recipe{Suite: "one", Kernel: "kernel"}, spec: tc.spec}}
		output, err := simulate(t, b, one, two)
		if tc.want == "" {
			assert.NoError(t, err, "%+v: %s", tc.spec, output)
			continue
		}
		if assert.Error(t, err, tc.want) {
			assert.EqualError(t, explain("mmdebstrap", output, err), "run mmdebstrap: "+tc.want)
		}
	}
}

// A step that does not find out what is installed ends the build, although its output goes
// through another program.
func TestSimulateWithoutPackageLists(t *testing.T) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no apt-get here, with which images are built: install apt")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "apt-cache"), []byte("#!/bin/sh\necho 'E: no lists' >&2\nexit 100\n"), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	one := listed("core", "1", "Essential: yes")
	for _, name := range packages("kernel") {
		one += listed(name, "1")
	}
	output, err := simulate(t, &builder{plan: &plan{recipe: Recipe{Suite: "one", Kernel: "kernel"}}}, one, "")
	assert.Error(t, err, output)
	assert.Contains(t, output, "E: no lists")
}
