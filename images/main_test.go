package images

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// helperEnv makes the test binary a second process that works on the cache.
const helperEnv = "VMTEST_IMAGES_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "open":
		os.Exit(helperOpen())
	case "group":
		os.Exit(helperGroup())
	}
	os.Exit(m.Run())
}

// helperOpen opens the image "sample". A build prints "building" and goes on when
// standard input ends. Notices go to standard output.
func helperOpen() int {
	c := cache{dir: os.Getenv("VMTEST_IMAGES_CACHE")}
	r := &reporter{image: "sample", fn: func(p Progress) { fmt.Println(p.Stage, p.Text) }}
	_, err := c.open(context.Background(), "sample", "", r, func(ctx context.Context, dir string, r *reporter) error {
		if os.Getenv("VMTEST_IMAGES_SCRATCH") != "" {
			scratch, err := makeScratch(filepath.Dir(dir))
			if err != nil {
				return err
			}
			fmt.Println("scratch", scratch)
		}
		fmt.Println("building")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return sampleBuild(ctx, dir, r)
	})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

// helper is a second process.
type helper struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func startHelper(t *testing.T, what string, env ...string) *helper {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), append(env, helperEnv+"="+what)...)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return &helper{cmd: cmd, stdin: stdin, lines: bufio.NewScanner(stdout)}
}

// expect reads lines until one starts with prefix, and returns the rest of it.
func (h *helper) expect(t *testing.T, prefix string) string {
	t.Helper()
	var seen []string
	for h.lines.Scan() {
		if rest, ok := strings.CutPrefix(h.lines.Text(), prefix); ok {
			return strings.TrimSpace(rest)
		}
		seen = append(seen, h.lines.Text())
	}
	require.FailNow(t, "the helper ended early", "no line %q in %q", prefix, seen)
	return ""
}

// sampleBuild fills an image's directory without any tool.
func sampleBuild(ctx context.Context, dir string, _ *reporter) error {
	m := Manifest{Format: formatVersion, Name: "sample", Arch: runtime.GOARCH, SystemdVersion: "257.1-1",
		SystemdMajor: 257, Modules: []string{"overlay"}, Built: time.Now().UTC()}
	for _, name := range []string{"modules/lib/overlay.ko", rootFile, kernelFile} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := writeSynced(path, strings.NewReader("content of "+name)); err != nil {
			return err
		}
	}
	return m.describe(ctx, dir)
}

// notices returns a reporter that collects notices.
func notices(seen *[]string) *reporter {
	return &reporter{image: "sample", fn: func(p Progress) {
		if p.Notice {
			*seen = append(*seen, p.Text)
		}
	}}
}

// testCache returns an empty cache.
func testCache(t *testing.T) cache {
	t.Helper()
	c, err := openCache(t.TempDir())
	require.NoError(t, err)
	return c
}
