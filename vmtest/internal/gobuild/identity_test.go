package gobuild

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// moduleRoot is the directory of this module.
func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	return root
}

// copySources copies the sources of the agent that are in this module, and go.mod, to a
// directory.
func copySources(t *testing.T, root string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	lines, err := sources(t.Context(), agentPackage, runtime.GOARCH)
	require.NoError(t, err)
	for _, path := range append(lines, filepath.Join(root, "go.mod"), filepath.Join(root, "go.sum")) {
		rel, err := filepath.Rel(root, path)
		if err != nil || !filepath.IsLocal(rel) {
			continue // of another module
		}
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, rel)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, rel), data, 0o600))
	}
	return dir
}

// importing makes a module that requires this module, which is at root.
func importing(t *testing.T, name, root string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	mod = regexp.MustCompile(`(?m)^(module|tool) .*$`).ReplaceAll(mod, nil)
	text := "module " + name + "\n" + string(mod) + "\nrequire example.org/systemd-vmtest v0.0.0\n" +
		"replace example.org/systemd-vmtest => " + root + "\ntool " + agentPackage + "\ngodebug default=go1.25\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o600))
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600))
	return dir
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// The agent has the same bytes in this module, in one that replaces it by a copy of it, and
// in one that vendors it. It has others as soon as a source of it or of a dependency
// differs.
func TestAgentIsTheSameInEachModule(t *testing.T) {
	if strings.Contains(os.Getenv("GOFLAGS"), "-mod=vendor") && os.Getenv("GOPROXY") == "off" {
		t.Skip("GOFLAGS has -mod=vendor and GOPROXY is off, and the test makes modules that vendor nothing")
	}
	t.Setenv("VMTEST_CACHE", t.TempDir())
	t.Setenv("VMTEST_AGENT", "")
	t.Setenv("VMTEST_GO_PREBUILT", "")
	agent := func() string {
		t.Helper()
		data, err := Agent(t.Context(), runtime.GOARCH, noNotice(t))
		require.NoError(t, err)
		return digest(data)
	}
	root := moduleRoot(t)
	copied := copySources(t, root)
	want := agent()

	replacing := importing(t, "example.com/replacing", copied)
	t.Chdir(replacing)
	assert.Equal(t, want, agent(), "in a module that replaces")
	vendoring := importing(t, "example.com/vendoring", copied)
	t.Chdir(vendoring)
	out, err := exec.Command("go", "mod", "vendor").CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, want, agent(), "in a module that vendors")

	appendTo(t, "vendor/golang.org/x/crypto/ssh/mux.go", "\nvar changed = 1\n")
	assert.NotEqual(t, want, agent(), "with a dependency that differs")
	t.Chdir(replacing)
	assert.Equal(t, want, agent(), "and elsewhere")
	appendTo(t, filepath.Join(copied, "vmtest/internal/agent/server.go"), "\nvar changed = 1\n")
	assert.NotEqual(t, want, agent(), "with a source that differs")
	t.Chdir(root)
	assert.Equal(t, want, agent(), "and elsewhere")
}

// Each thing that can make another program of the same sources is part of the identity.
func TestIdentity(t *testing.T) {
	dir := smallModule(t)
	id := func() string {
		t.Helper()
		id, err := identity(t.Context(), ".", runtime.GOARCH, false)
		require.NoError(t, err)
		return id
	}
	first := id()
	assert.Equal(t, first, id())
	for name, change := range map[string]func(t *testing.T){
		"architecture and experiments": func(t *testing.T) {
			other, err := identity(t.Context(), ".", map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH], false)
			require.NoError(t, err)
			assert.NotEqual(t, first, other)
			t.Setenv("GOEXPERIMENT", "jsonv2")
		},
		"godebug":     func(t *testing.T) { appendTo(t, "go.mod", "\ngodebug panicnil=1\n") },
		"assembly":    func(t *testing.T) { require.NoError(t, os.WriteFile("a.s", []byte("\n"), 0o600)) },
		"header":      func(t *testing.T) { require.NoError(t, os.WriteFile("a.h", []byte("\n"), 0o600)) },
		"main source": func(t *testing.T) { appendTo(t, "main.go", "\n") },
		"new source":  func(t *testing.T) { require.NoError(t, os.WriteFile("b.go", []byte("package main\n"), 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := smallModule(t)
			change(t)
			assert.NotEqual(t, first, id(), dir)
		})
	}
	t.Chdir(dir)
	assert.Equal(t, first, id())
}

// A Stamp changes with what Program returns: sources, versions of modules, flags, and files
// that flags name.
func TestStamp(t *testing.T) {
	smallModule(t)
	stamp := func() string {
		t.Helper()
		stamp, err := Stamp(t.Context(), ".", runtime.GOARCH, noNotice(t))
		require.NoError(t, err)
		return stamp
	}
	seen := map[string]bool{stamp(): true}
	assert.True(t, seen[stamp()])
	fresh := func(what string) {
		t.Helper()
		assert.False(t, seen[stamp()], what)
		seen[stamp()] = true
	}
	appendTo(t, "main.go", "\nvar changed = 1\n")
	fresh("source")
	require.NoError(t, os.WriteFile("default.pgo", []byte("no profile"), 0o600))
	fresh("profile")
	require.NoError(t, os.Remove("default.pgo"))
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile("go.mod", append([]byte("module example.org/other\n"), mod[len("module example.org/small\n"):]...), 0o600))
	fresh("module")
	t.Setenv("GOFLAGS", "-gcflags=-N")
	fresh("flags")
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	other := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(other, []byte("package main\n\nfunc main() { println(1) }\n"), 0o600))
	wd, err := os.Getwd()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, []byte(`{"Replace":{"`+filepath.Join(wd, "main.go")+`":"`+other+`"}}`), 0o600))
	t.Setenv("GOFLAGS", "-overlay="+overlay)
	fresh("overlay")
	require.NoError(t, os.WriteFile(other, []byte("package main\n\nfunc main() { println(2) }\n"), 0o600))
	fresh("file of the overlay")
}

// A program that embeds a directory can tell the names of the files in it.
func TestIdentityHasTheNamesOfEmbeddedFiles(t *testing.T) {
	smallModule(t)
	require.NoError(t, os.WriteFile("main.go", []byte("package main\n\nimport \"embed\"\n\n//go:embed data\nvar data embed.FS\n\nfunc main() { _ = data }\n"), 0o600))
	require.NoError(t, os.MkdirAll("data/a", 0o700))
	require.NoError(t, os.WriteFile("data/a/file", nil, 0o600))
	first, err := identity(t.Context(), ".", runtime.GOARCH, false)
	require.NoError(t, err)
	require.NoError(t, os.Rename("data/a", "data/b"))
	second, err := identity(t.Context(), ".", runtime.GOARCH, false)
	require.NoError(t, err)
	assert.NotEqual(t, first, second)
}
