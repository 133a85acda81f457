package gobuild

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestSources(t *testing.T) {
	files, err := sources(t.Context(), agentPackage, runtime.GOARCH)
	require.NoError(t, err)
	for _, want := range []string{"../../cmd/agent/main.go", "../agent/server.go"} {
		want, err := filepath.Abs(want)
		require.NoError(t, err)
		assert.Contains(t, files, filepath.Dir(want)+inPackage+filepath.Base(want))
	}
	assert.False(t, slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, "print.go") && strings.Contains(f, "/src/fmt/") }),
		"files of the standard library")

	_, err = sources(t.Context(), "./none", runtime.GOARCH)
	assert.ErrorContains(t, err, "list sources of ./none: exit status 1:\n")
	assert.ErrorContains(t, err, "directory not found")
}

// A canceled go command ends with its children, which hold its output open.
func TestCanceledCommandEndsItsChildren(t *testing.T) {
	dir := t.TempDir()
	const fake = "#!/bin/sh\n(exec 3>alive; sleep infinity) & wait\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte(fake), 0o700))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "alive"), 0o600))
	t.Chdir(dir)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		alive, err := os.Open("alive")
		cancel()
		if err == nil {
			_, err = io.Copy(io.Discard, alive) // ends when the child has ended
		}
		ended <- err
	}()
	_, err := sources(ctx, "./pkg", runtime.GOARCH)
	require.ErrorIs(t, err, context.Canceled)
	assert.NoError(t, <-ended)
}
