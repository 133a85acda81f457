package vmtest

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// machineHere returns a machine whose agent runs in this process, so that its commands
// run on this host. A process that only sleeps stands in for QEMU.
func machineHere(t *testing.T) *Machine {
	t.Helper()
	host, port, err := qemu.Wire("link")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- new(agent.Server).Serve(context.Background(), port) }()
	client, err := link.Dial(t.Context(), host)
	require.NoError(t, err)
	t.Cleanup(func() {
		client.Close()
		<-served
	})
	binary := filepath.Join(t.TempDir(), "qemu")
	require.NoError(t, os.WriteFile(binary, []byte("#!/bin/sh\nexec sleep infinity\n"), 0o755))
	process, err := qemu.Start(qemu.Machine{Arch: "amd64", Binary: binary, Memory: 512})
	require.NoError(t, err)
	t.Cleanup(process.Kill)
	return newMachine(vm.Of(process, client, runtime.GOARCH), Config{})
}

// A Result has the zero ExitCode only if the command exited with 0.
func TestResult(t *testing.T) {
	m := machineHere(t)
	for name, test := range map[string]struct {
		args []string
		want Result
	}{
		"success":      {[]string{"true"}, Result{}},
		"exit status":  {[]string{"sh", "-c", "exit 3"}, Result{ExitCode: 3}},
		"signal":       {[]string{"sh", "-c", "kill -9 $$"}, Result{ExitCode: -1, Signal: "KILL"}},
		"not started":  {[]string{"/no/such"}, Result{ExitCode: -1}},
		"no arguments": {nil, Result{ExitCode: -1}},
	} {
		r, err := m.run(t.Context(), Command{Args: test.args})
		assert.Equal(t, test.want.ExitCode == 0, err == nil, name)
		assert.Equal(t, test.want.ExitCode, r.ExitCode, name)
		assert.Equal(t, test.want.Signal, r.Signal, name)
	}

	ctx, cancel := context.WithCancel(t.Context())
	r, err := m.Exec(ctx, Command{
		Args:   []string{"sh", "-c", "echo out >&2; echo ready; sleep 1000"},
		Stdout: writerFunc(func([]byte) { cancel() }),
	})
	assert.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, -1, r.ExitCode)
	assert.Equal(t, "out\n", string(r.Stderr), "output before the cancellation")
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestCommandString(t *testing.T) {
	c := Command{Args: []string{"printf", `it's %s\n`, "", "a-b_c/d.e", "ü"}}
	assert.Equal(t, `printf 'it'\''s %s\n' '' a-b_c/d.e 'ü'`, c.String())
}

func TestCaptureLimit(t *testing.T) {
	var c capture
	block := make([]byte, 3<<20)
	for range 6 {
		n, err := c.Write(block)
		assert.NoError(t, err)
		assert.Equal(t, len(block), n)
	}
	assert.Equal(t, outputKept, len(c.data), "bytes of the output that are kept")
	assert.Equal(t, 2<<20, c.more)
}

// Run refuses output that it cannot return whole; Exec returns how much is missing.
func TestOutputLimit(t *testing.T) {
	m := machineHere(t)
	const n = outputKept + 1000
	args := []string{"head", "--bytes", strconv.Itoa(n), "/dev/zero"}
	r, err := m.Exec(t.Context(), Command{Args: args})
	require.NoError(t, err)
	assert.Len(t, r.Stdout, outputKept)
	assert.Equal(t, 1000, r.Dropped)
	_, err = m.Run(t.Context(), args...)
	assert.ErrorContains(t, err, "more than 16 MiB of output; use Exec with Stdout")
}

func TestLastLines(t *testing.T) {
	assert.Empty(t, lastLines([]byte(" \n")))
	text := lastLines([]byte(strings.Repeat("x", 5000) + "\x1b[31mend"))
	assert.Less(t, len(text), 2200)
	assert.True(t, strings.HasSuffix(text, "xend"))
}
