package vmtest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
)

// fatalT is a test that keeps what it fails with.
type fatalT struct {
	testing.TB
	text string
}

func (t *fatalT) Fatal(args ...any) {
	t.text = fmt.Sprint(args...)
	runtime.Goexit()
}

// fatal returns what a test fails with, or "".
func fatal(t *testing.T, test func(testing.TB)) string {
	t.Helper()
	fake := &fatalT{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(fake)
	}()
	<-done
	return fake.text
}

// A build on the host may take longer than an operation of the guest.
func TestBuildIsNotBoundByOpTimeout(t *testing.T) {
	dir := t.TempDir()
	const fake = "#!/bin/sh\ntest \"$1\" = list && exit\nsleep 1\necho built to the end\nexit 1\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte(fake), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("VMTEST_CACHE", filepath.Join(dir, "cache"))
	t.Setenv("VMTEST_GO_PREBUILT", "")
	m := machineHere(t)
	m.config.OpTimeout = time.Nanosecond
	m.inputs = &inputs{image: &images.Image{Manifest: images.Manifest{Arch: runtime.GOARCH}}}
	g := &Guest{Machine: m}
	text := fatal(t, func(t testing.TB) { g.InstallGo(t, "./pkg", filepath.Join(dir, "program")) })
	assert.Equal(t, "build ./pkg for the guest: exit status 1:\nbuilt to the end", text)
}
