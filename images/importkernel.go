package images

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"example.org/systemd-vmtest/internal/kmod"
	"example.org/systemd-vmtest/internal/rootfs"
)

const (
	modulesPath = "lib/modules" // in a guest
	zstdSuffix  = ".zst"
	maxReasons  = 3 // why kernels are not used, in a note
)

// addKernel writes the kernel and the initrd's modules to dir. They are the source's, or
// those of another image. It returns a note that says which.
func (i *importer) addKernel(ctx context.Context, dir string, t *rootfs.Tree, m *Manifest) (note string, err error) {
	var reasons []string
	for _, version := range kernels(t) {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		k, err := findKernel(t, version)
		if err != nil {
			if len(reasons) < maxReasons {
				reasons = append(reasons, oneLine(err.Error()))
			}
			continue
		}
		if err := k.write(dir, t, m); err != nil {
			return "", err
		}
		return "the guest boots its own kernel " + version, nil
	}
	if err := i.borrowKernel(ctx, dir, t, m); err != nil {
		return "", err
	}
	why := "the source has none"
	if len(reasons) > 0 {
		why = strings.Join(reasons, "; ")
	}
	return fmt.Sprintf("the guest boots the kernel of %s, %s: %s", i.o.Kernel, m.KernelVersion, why), nil
}

// kernels returns the versions of the kernels in a tree, newest first.
func kernels(t *rootfs.Tree) []string {
	dir, _, err := t.Lookup(modulesPath)
	if err != nil {
		return nil
	}
	names := dir.Names()
	slices.SortFunc(names, func(a, b string) int { return compareVersions(b, a) })
	return names
}

// compareVersions compares two versions, their numbers by value.
func compareVersions(a, b string) int {
	x, y := versionParts(a), versionParts(b)
	for i := range min(len(x), len(y)) {
		n, errN := strconv.ParseUint(x[i], 10, 64)
		m, errM := strconv.ParseUint(y[i], 10, 64)
		c := strings.Compare(x[i], y[i])
		if errN == nil && errM == nil {
			c = cmp.Compare(n, m)
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}

// versionParts splits a version where digits begin or end.
func versionParts(s string) []string {
	var list []string
	digits := false
	for _, r := range s {
		if d := unicode.IsDigit(r); len(list) == 0 || d != digits {
			list, digits = append(list, ""), d
		}
		list[len(list)-1] += string(r)
	}
	return list
}

// ownKernel is a kernel of a tree that a guest can boot.
type ownKernel struct {
	version string
	image   *rootfs.Node
	extra   []string // modules that the guest could not load by itself
}

// findKernel returns the kernel of a version, or why a guest cannot boot it.
func findKernel(t *rootfs.Tree, version string) (ownKernel, error) {
	k := ownKernel{version: version}
	if oneLine(version) != version {
		return k, fmt.Errorf("kernel %q: no kernel has such a version", version)
	}
	base := path.Join(modulesPath, version)
	for _, name := range []string{path.Join(base, "vmlinuz"), "boot/vmlinuz-" + version, path.Join(base, "Image"), "boot/Image-" + version} {
		if n, _, err := t.Lookup(name); err == nil && n.Size > 0 {
			k.image = n
			break
		}
	}
	if k.image == nil {
		return k, fmt.Errorf("kernel %s: no image in /boot or its modules", version)
	}
	dep, err := t.ReadFile(path.Join(base, "modules.dep"), maxProgram)
	if err != nil {
		return k, fmt.Errorf("kernel %s: %w; depmod makes it", version, err)
	}
	builtin, err := t.ReadFile(path.Join(base, "modules.builtin"), maxProgram)
	if err != nil {
		return k, fmt.Errorf("kernel %s: %w", version, err)
	}
	index := kmod.ParseIndex(string(dep), string(builtin))
	files, err := neededFiles(index)
	if err != nil {
		return k, fmt.Errorf("kernel %s: %w", version, err)
	}
	for _, file := range files {
		if !t.Has(path.Join(base, file)) {
			return k, fmt.Errorf("kernel %s: the file of the module %s is missing", version, kmod.Name(file))
		}
	}
	// The guest's first program, which loads these from the image, has no zstd.
	for _, name := range []string{"ext4", "pvpanic", "pvpanic_mmio", "pvpanic_pci"} {
		if files, err := index.Files(name); err == nil && slices.ContainsFunc(files, isZstd) {
			k.extra = append(k.extra, name)
		}
	}
	return k, nil
}

func isZstd(file string) bool { return strings.HasSuffix(file, zstdSuffix) }

// write writes the kernel and the modules of the initrd to dir.
func (k ownKernel) write(dir string, t *rootfs.Tree, m *Manifest) (err error) {
	if err := writeSynced(filepath.Join(dir, kernelFile), t.Content(k.image)); err != nil {
		return err
	}
	m.KernelVersion = k.version
	m.Modules, err = writeModules(filepath.Join(dir, modulesDir), k.version, func(name string) ([]byte, error) {
		return t.ReadFile(path.Join(modulesPath, k.version, name), maxProgram)
	}, k.extra...)
	if err != nil {
		return &ImportError{Cause: fmt.Sprintf("its kernel %s cannot be used: %s", k.version, oneLine(err.Error())),
			Cure: "install it again there, or remove it", Err: err}
	}
	return nil
}

// decompressModule is kmod.Decompress, for zstd too. Guests do without it, because it
// would double their agent.
func decompressModule(file string, content []byte) ([]byte, error) {
	if !isZstd(file) {
		return kmod.Decompress(file, content)
	}
	if !bytes.HasPrefix(content, []byte("\x28\xb5\x2f\xfd")) {
		return nil, fmt.Errorf("decompress %s: not in the format of zstd", file)
	}
	r, closeReader, err := rootfs.Decompress(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", file, err)
	}
	defer closeReader()
	b, err := kmod.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", file, err)
	}
	return b, nil
}

// borrowKernel takes the kernel of another image, and adds its modules to the guest.
func (i *importer) borrowKernel(ctx context.Context, dir string, t *rootfs.Tree, m *Manifest) error {
	for {
		base, err := Open(ctx, named(i.o.Kernel), i.o.Options)
		if err != nil {
			return err
		}
		err = copyKernel(base, dir)
		var modules string
		if err == nil {
			modules, err = unpackModules(ctx, base, filepath.Dir(dir))
		}
		check := base.Check()
		switch {
		case errors.Is(check, ErrReplaced) && ctx.Err() == nil: // while its files were read
			if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
				return fmt.Errorf("take the kernel again: %w", err)
			}
			continue
		case check != nil || err != nil:
			return cmp.Or(err, check)
		}
		m.KernelVersion, m.Modules = base.KernelVersion, base.Modules
		at := path.Join(modulesPath, base.KernelVersion)
		if err := t.MakeDir(at); err != nil {
			return err
		}
		return t.AddDir(ctx, modules, at)
	}
}

// copyKernel copies the kernel and the initrd's modules of an image to dir.
func copyKernel(base *Image, dir string) error {
	for _, file := range base.Files {
		if file.Path != kernelFile && !strings.HasPrefix(file.Path, modulesDir+"/") {
			continue
		}
		to := filepath.Join(dir, filepath.FromSlash(file.Path))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return fmt.Errorf("copy kernel: %w", err)
		}
		in, err := os.Open(filepath.Join(base.dir, filepath.FromSlash(file.Path)))
		if err != nil {
			return fmt.Errorf("copy kernel: %w", err)
		}
		err = errors.Join(writeSynced(to, in), in.Close())
		if err != nil {
			return fmt.Errorf("copy kernel: %w", err)
		}
	}
	return nil
}

// unpackModules unpacks all modules of an image's kernel below the directory work, and
// returns their directory.
func unpackModules(ctx context.Context, base *Image, work string) (string, error) {
	to, inside := filepath.Join(work, "kernel"), "usr/"+modulesPath+"/"+base.KernelVersion
	if err := os.RemoveAll(to); err != nil {
		return "", fmt.Errorf("unpack kernel modules: %w", err)
	}
	g, err := newGroup()
	if err != nil {
		return "", err
	}
	defer g.close()
	defer g.bind(ctx)()
	cmd := g.command("unsquashfs", "-no-progress", "-no-xattrs", "-quiet", "-d", to, base.Root(), inside)
	cmd.Env = toolEnv(work, defaultEpoch)
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", explain("unsquashfs", string(out), err)
	}
	return filepath.Join(to, filepath.FromSlash(inside)), nil
}
