package images

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/rootfs"
)

// A source without a kernel, or with one that lacks a driver, gets that of a Debian image
// with its modules.
func TestImportBorrowsAKernel(t *testing.T) {
	cacheDir := t.TempDir()
	fillDefault(t, cacheDir)
	lib := "usr/lib/modules/" + foreignKernel + "/"
	for name, tc := range map[string]struct {
		without []string
		want    string
	}{
		"no kernel":  {[]string{lib + "vmlinuz"}, "kernel " + foreignKernel + ": no image in /boot or its modules"},
		"no index":   {[]string{lib + "modules.dep"}, "kernel " + foreignKernel + ": find lib/modules/" + foreignKernel + "/modules.dep: file does not exist; depmod makes it"},
		"no driver":  {[]string{lib + "modules.builtin"}, "kernel " + foreignKernel + ": find lib/modules/" + foreignKernel + "/modules.builtin: file does not exist"},
		"no module":  {[]string{lib + "kernel/overlay.ko.zst"}, "kernel " + foreignKernel + ": the file of the module overlay is missing"},
		"no modules": {[]string{"lib"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var notes []string
			image, err := Import(t.Context(), "other", writeSource(t, makeTar(t, without(otherSystem(t), tc.without...))), notesOf(cacheDir, &notes))
			if name == "no modules" { // a tree that has no /lib at all is not one that any systemd runs on
				require.NoError(t, err)
				tc.want = "the source has none"
			}
			require.NoError(t, err)
			assert.Contains(t, notes, "the guest boots the kernel of debian-13, 6.1-debian: "+tc.want)
			assert.Equal(t, "6.1-debian", image.KernelVersion)
			assert.Equal(t, []string{"overlay"}, image.Modules)
			assert.FileExists(t, filepath.Join(image.ModulesDir(), "lib/overlay.ko"))
			assert.Contains(t, strings.Join(listSquashfs(t, image.Root()), "\n"), "lib/modules/6.1-debian/kernel/sound.ko")
		})
	}
}

// fillDefault puts an image with the name of Default into a cache.
func fillDefault(t *testing.T, cacheDir string) {
	t.Helper()
	c, err := openCache(cacheDir)
	require.NoError(t, err)
	p, err := newPlan(named(Default))
	require.NoError(t, err)
	_, err = c.replace(t.Context(), "build", Default, &reporter{}, func(ctx context.Context, dir string, r *reporter) error {
		tree, err := rootfs.New(dir, 1<<20)
		if err != nil {
			return err
		}
		defer tree.Close()
		if err := tree.WriteFile("usr/lib/modules/6.1-debian/kernel/sound.ko", []byte("sound"), 0o644); err != nil {
			return err
		}
		if err := sampleBuild(ctx, dir, r); err != nil {
			return err
		}
		for _, name := range []string{rootFile, manifestFile} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		if err := packTree(ctx, tree, filepath.Join(dir, rootFile)); err != nil {
			return err
		}
		m := Manifest{Format: formatVersion, Name: Default, Inputs: p.inputs, Arch: runtime.GOARCH, KernelVersion: "6.1-debian", Modules: []string{"overlay"}}
		return m.describe(ctx, dir)
	})
	require.NoError(t, err)
}

// The newest of several kernels that can be used is taken.
func TestImportTakesTheNewestKernel(t *testing.T) {
	system := otherSystem(t)
	for _, e := range otherSystem(t) {
		if rest, ok := strings.CutPrefix(e.name, "usr/lib/modules/"+foreignKernel); ok {
			e.name = "usr/lib/modules/6.10.0-arch1-1" + rest
			system = append(system, e)
		}
	}
	for _, e := range otherSystem(t) { // no manifest may have its version
		if rest, ok := strings.CutPrefix(e.name, "usr/lib/modules/"+foreignKernel); ok {
			e.name = "usr/lib/modules/6.13.0\x1b[31m" + rest
			system = append(system, e)
		}
	}
	system = append(system, entry{name: "usr/lib/modules/6.12.0/modules.dep"})
	image, err := Import(t.Context(), "other", writeSource(t, makeTar(t, system)), ImportOptions{Options: Options{Cache: t.TempDir()}})
	require.NoError(t, err)
	assert.Equal(t, "6.10.0-arch1-1", image.KernelVersion)
}
