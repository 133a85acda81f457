package images

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.org/systemd-vmtest/internal/kmod"
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
	var err error
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
	return m.describe(dir)
}

// describe lists the files of an image's directory in the manifest and stores it there.
func (m *Manifest) describe(dir string) error {
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
		f, err := hashFile(dir, path)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, f)
	}
	m.Digest = digestFiles(m.Files)
	return m.write(dir)
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
	var m moduleFiles
	take := func(name string) error {
		content, err := os.ReadFile(filepath.Join(lib, kernel, filepath.FromSlash(name)))
		if err != nil {
			return fmt.Errorf("read kernel modules: %w", err)
		}
		m.add(kernel+"/"+name, content)
		return nil
	}
	if err := errors.Join(take("modules.dep"), take("modules.builtin")); err != nil {
		return "", nil, err
	}
	order, err := neededFiles(kmod.ParseIndex(string(m.files[kernel+"/modules.dep"]), string(m.files[kernel+"/modules.builtin"])))
	if err != nil {
		return "", nil, err
	}
	for _, file := range order {
		if err := take(file); err != nil {
			return "", nil, err
		}
	}
	names, err = m.write(dir, kernel)
	return kernel, names, err
}
