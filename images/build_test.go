package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
)

// needBuilds skips a test that takes minutes and a network.
func needBuilds(t *testing.T) {
	t.Helper()
	if os.Getenv("VMTEST_BUILD_IMAGES") != "1" {
		t.Skip("builds images from packages, for minutes and with a network: set VMTEST_BUILD_IMAGES=1 to run it")
	}
	require.Empty(t, host.Missing())
}

func TestBuildIsReproducible(t *testing.T) {
	needBuilds(t)
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			o := Options{Cache: t.TempDir()}
			first, err := Build(t.Context(), named(name), o)
			require.NoError(t, err)
			second, err := Build(t.Context(), named(name), o)
			require.NoError(t, err)
			assert.Equal(t, first.Digest, second.Digest)
			list, err := List(o)
			require.NoError(t, err)
			assert.Equal(t, []Manifest{second.Manifest}, list)
			require.NoError(t, Remove(t.Context(), name, o))
		})
	}
}

func TestBuildWithoutNetwork(t *testing.T) {
	needBuilds(t)
	cacheDir := t.TempDir()
	// Port 1 of the loopback refuses connections.
	_, err := Open(t.Context(), named(Default), Options{Cache: cacheDir, Mirror: "http://127.0.0.1:1/debian"})
	var lacks *HostError
	require.ErrorAs(t, err, &lacks)
	assert.Contains(t, lacks.Cause, "the package mirror cannot be reached: ")
	assert.Contains(t, lacks.Cause, "127.0.0.1")
	assertNothingLeft(t, cacheDir)
}

func TestBuildCancelled(t *testing.T) {
	needBuilds(t)
	cacheDir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Open(ctx, named(Default), Options{Cache: cacheDir, Progress: func(p Progress) {
		if p.Stage == Installing && p.Done > 0 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	assertNothingLeft(t, cacheDir)
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	assert.Empty(t, left)
}

func assertNothingLeft(t *testing.T, cacheDir string) {
	t.Helper()
	c := cache{dir: filepath.Join(cacheDir, "images")}
	assertClean(t, c)
	assert.NoDirExists(t, c.image(Default))
	assert.NoFileExists(t, c.stamp(Default))
}

// When mmdebstrap ends in the middle of a file, the filter and sqfstar fail too. The
// error has mmdebstrap's last line as its cause, with the cure for that.
func TestTornTreeBlamesItsMaker(t *testing.T) {
	whole := makeTar(t, guestTree(t))
	archive := filepath.Join(t.TempDir(), "tree.tar")
	require.NoError(t, os.WriteFile(archive, whole, 0o600))
	const (
		maker  = `head -c "$1" "$2"; echo "tar: write error: No space left on device" >&2; exit 2`
		packer = `trap "" TERM; cat > /dev/null; echo "FATAL ERROR: Unexpected EOF" >&2; exit 1`
	)
	for name, end := range map[string]int{
		"in a header":           bytes.Index(whole, []byte("./etc/passwd")) + 4,
		"before a header":       bytes.Index(whole, []byte("./etc/passwd")),
		"in a file":             bytes.Index(whole, []byte("LGPL")) + 2,
		"in a file that is cut": bytes.Index(whole, []byte("buildhost")) + 2,
		"in the kernel":         bytes.Index(whole, []byte("the kernel")) + 2,
		"in a module":           bytes.Index(whole, []byte("squashfs module")) + 2,
		"in the padding":        len(whole) - 700,
	} {
		t.Run(name, func(t *testing.T) {
			g, err := newGroup()
			require.NoError(t, err)
			defer g.close()
			debs := g.command("sh", "-c", maker, "sh", strconv.Itoa(end), archive)
			_, err = g.flow(debs, g.command("sh", "-c", packer), t.TempDir(), epoch, &reporter{})
			var lacks *HostError
			require.ErrorAs(t, err, &lacks)
			assert.Equal(t, "no space: tar: write error: No space left on device", lacks.Cause)
			assert.Equal(t, host.SpaceCure, lacks.Cure)
			assert.ErrorContains(t, lacks.Err, "exit status 2")
		})
	}
}

// An invalid tree ends both tools, even if they ignore SIGTERM.
func TestToolThatIgnoresSIGTERM(t *testing.T) {
	g, err := newGroup()
	require.NoError(t, err)
	defer g.close()
	g.grace = time.Millisecond
	// Ends the test, late, if nothing kills the tools.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	defer g.bind(ctx)()
	ready := filepath.Join(t.TempDir(), "ready")
	require.NoError(t, syscall.Mkfifo(ready, 0o600))
	debs := g.command("sh", "-c", `trap "" TERM; read -r word < "$1"; printf %01024d 1; sleep 1000`, "sh", ready)
	pack := g.command("sh", "-c", `trap "" TERM; echo > "$1"; cat > /dev/null; sleep 1000`, "sh", ready)
	_, err = g.flow(debs, pack, t.TempDir(), epoch, &reporter{})
	require.Error(t, err)
	require.NoError(t, ctx.Err(), "flow waited for the tools")
	for _, cmd := range []*exec.Cmd{debs, pack} {
		assert.Equal(t, "signal: killed", cmd.ProcessState.String())
	}
}

// When the filter refuses the tree, mmdebstrap's end by SIGTERM is not the cause.
func TestRefusedTreeIsTheCause(t *testing.T) {
	none := makeTar(t, []entry{{name: "etc/passwd", content: "root"}})
	for _, tc := range []struct {
		name, archive, want string
		grace               time.Duration
	}{
		// The packer waits for a reader that has ended, until it is killed.
		{"not an archive", strings.Repeat("1", 1024), "read guest tree: archive/tar: invalid tar header", 100 * time.Millisecond},
		{"no kernel", string(none), "read guest tree: no kernel in boot", time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g, err := newGroup()
			require.NoError(t, err)
			defer g.close()
			g.grace = tc.grace
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			defer g.bind(ctx)()
			dir := t.TempDir()
			archive := filepath.Join(dir, "tree.tar")
			require.NoError(t, os.WriteFile(archive, []byte(tc.archive), 0o600))
			ready, packed := filepath.Join(dir, "ready"), filepath.Join(dir, "packed")
			require.NoError(t, syscall.Mkfifo(ready, 0o600))
			require.NoError(t, syscall.Mkfifo(packed, 0o600))
			// It begins when the packer ignores signals. It cleans up after it has written
			// the tree, until the packer has ended.
			debs := g.command("sh", "-c", `trap 'echo "E: got a signal" >&2; exit 3' TERM
				read -r word < "$1"; cat "$2"; exec >&-; read -r word < "$3"`, "sh", ready, archive, packed)
			pack := g.command("sh", "-c", `trap "" TERM; echo > "$1"; cat > /dev/null; echo > "$2"; exit 1`, "sh", ready, packed)
			_, err = g.flow(debs, pack, dir, epoch, &reporter{})
			assert.EqualError(t, err, tc.want)
		})
	}
}

func TestVerdict(t *testing.T) {
	const full = "FATAL ERROR: write failed because No space left on device"
	terminated, failed := errors.New("signal: terminated"), errors.New("exit status 1")
	broken := fmt.Errorf("copy etc/passwd: %w", &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE})
	for _, tc := range []struct {
		name             string
		tree, debs, pack error
		debsEnd, packEnd string
		want             string // the error's beginning
	}{
		{name: "all succeed"},
		{name: "sqfstar's disk is full", tree: broken, debs: terminated, pack: failed, packEnd: full,
			want: "no space: " + full},
		{name: "sqfstar is killed", tree: broken, debs: terminated, pack: errors.New("signal: killed"),
			want: "run sqfstar: signal: killed"},
		{name: "sqfstar fails at its end", pack: failed, packEnd: full, want: "no space: " + full},
		{name: "mmdebstrap writes nothing", tree: (&tree{}).check(), debs: failed, pack: terminated, debsEnd: "E: no such suite",
			want: "run mmdebstrap: E: no such suite"},
		{name: "mmdebstrap writes nothing, sqfstar stops early", tree: broken, debs: failed, debsEnd: "E: no such suite",
			want: "run mmdebstrap: E: no such suite"},
		{name: "mmdebstrap fails at its end", debs: failed, debsEnd: "E: cannot unmount", want: "run mmdebstrap: E: cannot unmount"},
		{name: "the tree lacks the kernel", tree: (&tree{}).check(), pack: terminated, want: "read guest tree: no kernel in boot"},
		{name: "the kernel cannot be stored", tree: fmt.Errorf("write file: %w", syscall.EIO), debs: terminated, debsEnd: "I: packing",
			pack: failed, packEnd: "FATAL ERROR: Unexpected EOF", want: "write file: input/output error"},
		{name: "a path that has the texts of errors", tree: errors.New("copy read guest tree write guest tree: x"), debs: terminated,
			pack: failed, packEnd: "FATAL ERROR: Unexpected EOF", want: "copy read guest tree write guest tree: x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := verdict(tc.tree, tc.debs, tc.pack, tc.debsEnd, tc.packEnd)
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.True(t, strings.HasPrefix(err.Error(), tc.want), err.Error())
		})
	}
}
