package gobuild

import (
	"debug/elf"
	"errors"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
)

// The command vmtest is its own agent where that cannot be built, if it is static and the
// reason is not the disk.
func TestWithoutBuild(t *testing.T) {
	dir := t.TempDir()
	static := filepath.Join(dir, "static")
	build := exec.Command("go", "build", "-o", static, agentPackage)
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	noGo := &host.Error{Cause: "no go command on PATH", Cure: "add it", Check: host.Agent}
	at := func(path string) func() (string, bool) { return func() (string, bool) { return path, true } }

	var noted string
	notice := func(text string) { noted = text }
	data, err := withoutBuild(runtime.GOARCH, noGo, at(static), notice)
	require.NoError(t, err)
	assert.NotEmpty(t, data)
	assert.Empty(t, noted)
	_, err = withoutBuild(runtime.GOARCH, errors.New("it does not compile"), at(static), notice)
	require.NoError(t, err)
	assert.Equal(t, "the guest's agent is "+static+" itself: it does not compile", noted)

	_, err = withoutBuild(runtime.GOARCH, noGo, func() (string, bool) { return "", false }, notice)
	assert.Equal(t, noGo, err, "in a test binary")
	full := &host.Error{Cause: "no space", Cure: "free some", Check: host.Disk}
	_, err = withoutBuild(runtime.GOARCH, full, at(static), notice)
	assert.Equal(t, full, err)

	loaded := dynamicProgram(t)
	_, err = withoutBuild(runtime.GOARCH, noGo, at(loaded), notice)
	var lacking *host.Error
	require.ErrorAs(t, err, &lacking)
	assert.Equal(t, "no go command on PATH; "+loaded+" cannot be the agent: executable is not static (build it with CGO_ENABLED=0)", lacking.Cause)
	assert.Contains(t, lacking.Cure, "install vmtest with CGO_ENABLED=0")
}

// dynamicProgram returns the path of a program of this host that has a dynamic loader.
func dynamicProgram(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"sh", "git", "go"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		file, err := elf.Open(path)
		if err != nil { // a script
			continue
		}
		defer file.Close()
		if slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
			return path
		}
	}
	t.Skip("sh, git and go of this host are static")
	return ""
}

func TestOwnExecutableOfATest(t *testing.T) {
	_, ok := ownExecutable()
	assert.False(t, ok, "a test binary is no agent")
}
