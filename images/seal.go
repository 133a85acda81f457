package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Seal makes an image of the directory dir, which another tool, such as Nix, has
// filled. dir holds the kernel, vmlinuz, and the root file system, rootfs.squashfs,
// with /sbin/init and /etc and without an agent. Seal adds the manifest, and the
// modules that the initrd loads. It takes these from modulesTree, which holds
// lib/modules with the modules of one kernel.
//
// The caller sets Name, Distribution, Suite, Arch, SystemdVersion, Packages and Built
// in m, and Units and Bin if the guest's directories differ from the usual ones. Seal
// sets the rest. [Open] takes dir as an image's name.
func Seal(dir string, m Manifest, modulesTree string) error {
	if m.Name == "" || m.Arch == "" || m.Distribution == "" {
		return errors.New("seal image: no name, architecture or distribution")
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("seal image: %w", err)
	}
	if m.SystemdVersion, m.SystemdMajor, err = systemdVersion([]Package{{Name: "systemd", Version: m.SystemdVersion}}); err != nil {
		return fmt.Errorf("seal image: %w", err)
	}
	if m.KernelVersion, m.Modules, err = takeModules(filepath.Join(dir, modulesDir), modulesTree); err != nil {
		return fmt.Errorf("seal image: %w", err)
	}
	slices.SortFunc(m.Packages, func(a, b Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
	m.Packages = slices.Compact(m.Packages)
	m.Format = formatVersion
	return m.describe(context.Background(), dir)
}

// describe lists the files of an image's directory in the manifest and stores it there.
func (m *Manifest) describe(ctx context.Context, dir string) error {
	paths, err := listFiles(dir)
	if err != nil {
		return err
	}
	for _, need := range []string{kernelFile, rootFile} {
		if !slices.Contains(paths, need) {
			return fmt.Errorf("describe image: %s is missing", need)
		}
	}
	m.Files = nil
	for _, path := range paths {
		file, err := describeFile(ctx, dir, path)
		if err != nil {
			return fmt.Errorf("describe image: %w", err)
		}
		m.Files = append(m.Files, file)
	}
	m.Digest = digestFiles(m.Files)
	return m.write(dir)
}

func describeFile(ctx context.Context, dir, path string) (File, error) {
	f, _, err := openRegular(filepath.Join(dir, filepath.FromSlash(path)))
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	return hashFile(ctx, f, path)
}

// takeModules copies what the initrd needs of a tree of kernel modules to dir. It
// returns the kernel's version and the modules in the order of loading.
func takeModules(dir, tree string) (kernel string, names []string, err error) {
	lib := filepath.Join(tree, "lib", "modules")
	entries, err := os.ReadDir(lib)
	if err != nil {
		return "", nil, fmt.Errorf("read kernel modules: %w", err)
	}
	if len(entries) != 1 {
		return "", nil, fmt.Errorf("read kernel modules: %s holds %d kernels instead of one", lib, len(entries))
	}
	kernel = entries[0].Name()
	names, err = writeModules(dir, kernel, func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join(lib, kernel, filepath.FromSlash(name)))
	})
	return kernel, names, err
}
