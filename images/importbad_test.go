package images

import (
	"archive/tar"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A bad source is an error with the cause and the cure, and nothing is kept of it.
func TestImportOfABadSource(t *testing.T) {
	otherArch := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	system := otherSystem(t)
	with := func(more ...entry) []byte { return makeTar(t, append(slices.Clone(system), more...)) }
	whole := with()
	for name, tc := range map[string]struct {
		source []byte
		want   string
	}{
		"no systemd": {makeTar(t, without(otherSystem(t), "usr/lib/systemd/systemd")),
			"it has no systemd: looked at /usr/lib/systemd/systemd and /lib/systemd/systemd (install it there"},
		"a directory above": {makeTar(t, []entry{{name: "root.x86_64/usr/lib/systemd/systemd", content: programFor(runtime.GOARCH), mode: 0o755}}),
			`(there is one below "root.x86_64": import that directory`},
		"no init":          {makeTar(t, without(otherSystem(t), "usr/bin/init")), "it has no /sbin/init (link it to systemd's program"},
		"another init":     {with(entry{name: "usr/bin/init", kind: tar.TypeSymlink, link: "su"}), "its /sbin/init is /usr/bin/su and not systemd"},
		"no program":       {with(entry{name: "usr/bin/init", content: "text"}), "its /sbin/init is not a program"},
		"init in a circle": {with(entry{name: "usr/bin/init", kind: tar.TypeSymlink, link: "init"}), "its /sbin/init cannot be followed: "},
		"another architecture": {with(entry{name: "usr/lib/systemd/systemd", content: programFor(otherArch), mode: 0o755}),
			"it is for " + otherArch + ", and guests of this host are for " + runtime.GOARCH},
		"an unknown processor": {with(entry{name: "usr/lib/systemd/systemd", content: "\x7fELF" + strings.Repeat("\x01", 30), mode: 0o755}),
			"it is for another processor (ELF machine 257)"},
		"a script as systemd": {with(entry{name: "usr/lib/systemd/systemd", content: "#!/bin/sh\n", mode: 0o755}), "/usr/lib/systemd/systemd is not a program"},
		"no version": {with(entry{name: "usr/lib/systemd/systemd", content: programFor(runtime.GOARCH)[:21], mode: 0o755}),
			"the version of /usr/lib/systemd/systemd is not known"},
		"a path out":                   {with(entry{name: "../../../etc/passwd", content: "x"}), `bad entry "./../../../etc/passwd": the path leads out of the tree`},
		"a hard link out":              {with(entry{name: "shadow", kind: tar.TypeLink, link: "../../etc/shadow"}), "the path leads out of the tree"},
		"an absolute hard link":        {with(entry{name: "shadow", kind: tar.TypeLink, link: "/etc/shadow"}), "file does not exist"},
		"a hard link through a link":   {with(entry{name: "host", kind: tar.TypeSymlink, link: "/"}, entry{name: "shadow", kind: tar.TypeLink, link: "host/etc/shadow"}), "file does not exist"},
		"torn":                         {whole[:len(whole)/2], "the archive is torn: it ends too early (copy or make it again)"},
		"torn, compressed":             {[]byte(zstdOf(t, string(whole)))[:300], "the archive is torn"},
		"no archive":                   {[]byte(strings.Repeat("some text\n", 100)), "it is not a tar archive (give a directory, a tar archive"},
		"empty":                        {nil, "it is empty"},
		"100 GB of zeros in 10 KiB":    {[]byte(sparseTar(t)), `"huge" has 100.0 GB, and the whole may have 16.0 GB`},
		"a name that cannot be a path": {with(entry{name: strings.Repeat("x", 300)}), "a name of more than 255 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			cacheDir, temp := t.TempDir(), t.TempDir()
			t.Setenv("TMPDIR", temp)
			source := filepath.Join(t.TempDir(), "root.tar")
			require.NoError(t, os.WriteFile(source, tc.source, 0o600))
			begin := time.Now()
			_, err := Import(t.Context(), "bad", source, ImportOptions{Options: Options{Cache: cacheDir}})
			assert.Less(t, time.Since(begin), 20*time.Second)
			var bad *ImportError
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, source, bad.Source)
			assert.ErrorContains(t, err, "import image bad: read "+source+": ")
			assert.ErrorContains(t, err, tc.want)
			assertOneLine(t, err.Error())
			assertNothingKept(t, cacheDir)
			for _, dir := range []string{temp, filepath.Dir(source)} {
				left, err := os.ReadDir(dir)
				require.NoError(t, err)
				assert.Len(t, slices.DeleteFunc(left, func(e os.DirEntry) bool { return e.Name() == "root.tar" }), 0, "files outside of the cache")
			}
		})
	}
}

func assertNothingKept(t *testing.T, cacheDir string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(cacheDir, imagesDir))
	require.NoError(t, err)
	assert.Empty(t, left, "files in the cache")
}

func sparseTar(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "huge"), nil, 0o600))
	require.NoError(t, os.Truncate(filepath.Join(dir, "huge"), 100e9))
	return runTool(t, "tar", "-C", dir, "--sparse", "-cf", "-", "huge")
}

// An import that fails leaves the image of the last one.
func TestFailedImportKeepsTheLast(t *testing.T) {
	cacheDir := t.TempDir()
	o := ImportOptions{Options: Options{Cache: cacheDir}}
	first, err := Import(t.Context(), "other", writeSource(t, makeTar(t, otherSystem(t))), o)
	require.NoError(t, err)
	_, err = Import(t.Context(), "other", writeSource(t, []byte("text")), o)
	require.ErrorAs(t, err, new(*ImportError))
	opened, err := Open(t.Context(), named("other"), o.Options)
	require.NoError(t, err)
	assert.Equal(t, first.Digest, opened.Digest)
}

// An import that is interrupted keeps nothing, whether it reads or packs.
func TestImportInterrupted(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	whole := makeTar(t, otherSystem(t))
	go func() {
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err == nil {
			_, _ = w.Write(whole[:len(whole)/2])
			<-t.Context().Done() // the rest never comes
			_ = w.Close()
		}
	}()
	for stage, source := range map[Stage]string{Reading: pipe, Packing: writeSource(t, whole)} {
		cacheDir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Import(ctx, "other", source, ImportOptions{Options: Options{Cache: cacheDir, Progress: func(p Progress) {
			if p.Stage == stage && !p.Notice {
				time.AfterFunc(100*time.Millisecond, cancel)
				if stage == Packing {
					cancel()
				}
			}
		}}})
		cancel()
		require.ErrorIs(t, err, context.Canceled, stage)
		assertNothingKept(t, cacheDir)
	}
}
