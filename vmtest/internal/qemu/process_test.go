package qemu

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/lack"
)

func TestStartWithoutQEMU(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Start(Machine{Arch: "amd64", Binary: "qemu-of-nobody"})
	var lacks *host.Error
	require.ErrorAs(t, err, &lacks)
	assert.EqualError(t, err, `missing on this host: qemu-of-nobody (run "vmtest setup", or install qemu-of-nobody; see "QEMU" in vmtest doctor)`)
	_, err = Start(Machine{Arch: "amd64", Binary: "/no/qemu"})
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// TestQEMURefusesItsArguments runs a process that ends at once. The error has its
// status.
func TestQEMURefusesItsArguments(t *testing.T) {
	f := files(t, 1)
	p, err := Start(Machine{Arch: "amd64", Binary: "false", Memory: 512, Initrd: f[0]})
	require.NoError(t, err)
	<-p.Done()
	assert.EqualError(t, p.Err(), "QEMU exited: exit status 1")
	p.Kill()
}

// wrap starts a script in QEMU's place.
func wrap(t *testing.T, ram *RAM, script string) *Process {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qemu")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700))
	p, err := Start(Machine{Arch: "amd64", Binary: path, Memory: 512, Initrd: files(t, 1)[0], RAM: ram})
	require.NoError(t, err)
	return p
}

// awaitDone waits for the end of a process.
func awaitDone(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(30 * time.Second):
		require.FailNow(t, "Done is not closed")
	}
}

// TestKillEndsAWrapper has a wrapper that does not become QEMU. QEMU, here sleep, holds a
// FIFO, whose reader sees the end when QEMU has ended.
func TestKillEndsAWrapper(t *testing.T) {
	for name, end := range map[string]string{"killed": "wait", "exits": "exit 0"} {
		t.Run(name, func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "fifo")
			require.NoError(t, unix.Mkfifo(fifo, 0o600))
			p := wrap(t, nil, fmt.Sprintf("exec 9>'%s'; sleep 1000 & echo ready >&9; %s", fifo, end))
			held, err := os.Open(fifo)
			require.NoError(t, err)
			defer held.Close()
			ready, err := io.ReadAll(io.LimitReader(held, 6))
			require.NoError(t, err)
			require.Equal(t, "ready\n", string(ready))
			killed := make(chan struct{})
			go func() { defer close(killed); p.Kill() }()
			awaitDone(t, p)
			<-killed
			_, err = held.Read(make([]byte, 1))
			assert.ErrorIs(t, err, io.EOF)
		})
	}
}

// TestDoneWaitsForNoStranger has a wrapper that leaves a process in a session of its own,
// which holds the standard error.
func TestDoneWaitsForNoStranger(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		lack.Skip(t, fmt.Sprint("needs setsid(1) of util-linux: ", err))
	}
	note := filepath.Join(t.TempDir(), "pid")
	p := wrap(t, nil, fmt.Sprintf("note='%s'\nsetsid sh -c 'echo $$ >\"$0\"; exec sleep 1000' $note &\n"+
		"until [ -s $note ]; do sleep 0.01; done; echo last words >&2; exit 3", note))
	awaitDone(t, p)
	assert.EqualError(t, p.Err(), "QEMU exited: exit status 3; it printed: last words")
	text, err := os.ReadFile(note)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	assert.NoError(t, unix.Kill(pid, unix.SIGKILL))
}

// TestBusErrorIsExplained names the memory file only for a machine that has one.
func TestBusErrorIsExplained(t *testing.T) {
	const why = "no page for its memory file"
	p := wrap(t, nil, "kill -BUS $$")
	awaitDone(t, p)
	require.ErrorContains(t, p.Err(), "signal: bus error")
	assert.NotContains(t, p.Err().Error(), why)
	p = wrap(t, &RAM{File: files(t, 1)[0]}, "kill -BUS $$")
	awaitDone(t, p)
	assert.ErrorContains(t, p.Err(), why)
}
