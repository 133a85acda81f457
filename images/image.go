package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"example.org/systemd-vmtest/internal/host"
)

// Options says where images are kept and who is told about the work. The zero
// value uses the user's cache and is silent.
type Options struct {
	// Cache is the root of the cache. Empty means $VMTEST_CACHE, and without
	// that systemd-vmtest in the user's cache folder.
	Cache string
	// Mirror is a package mirror in a form that mmdebstrap takes: a URI, or a
	// whole line of sources.list(5). Empty means $VMTEST_MIRROR, and without
	// that mmdebstrap's own default.
	Mirror string
	// Progress is told each step, one call at a time; it must not block.
	Progress func(Progress)
}

// Image is a verified image. In the cache it stays usable until it is removed or
// built anew; files that are open then stay whole.
type Image struct {
	Manifest
	dir string
}

// Dir is the image's folder.
func (i *Image) Dir() string { return i.dir }

// Kernel is the path of the kernel, in the form that QEMU's -kernel takes.
func (i *Image) Kernel() string { return filepath.Join(i.dir, kernelFile) }

// Root is the path of the root file system, an uncompressed squashfs.
func (i *Image) Root() string { return filepath.Join(i.dir, rootFile) }

// ModulesDir is the folder to put into an initrd whole. It holds
// lib/modules/KERNELVERSION with uncompressed modules, modules.dep and
// modules.builtin, so Manifest.Modules can be loaded by name.
func (i *Image) ModulesDir() string { return filepath.Join(i.dir, modulesDir) }

// Open gives the image of that name from the cache. Its files are compared with
// its manifest; by their stat(2) data alone where they were hashed before. An
// image that is absent, torn or altered is built, and a notice says so. It waits
// for another process that works on the same image.
//
// A name with a slash is the path of an image folder elsewhere, such as one that
// Nix has built (see [Seal]). It is verified alike, and an error when it will not
// do: it is never built nor changed.
//
// Errors are *UnknownImageError, *HostError, *BuildError, those of ctx, and of
// the file system.
func Open(ctx context.Context, name string, o Options) (*Image, error) {
	if isPath(name) {
		c, err := openCache(o.Cache)
		if err != nil {
			return nil, err
		}
		image, err := c.openPath(name)
		return image, host.NoSpace(err)
	}
	c, r, b, err := prepare(name, o)
	if err != nil {
		return nil, err
	}
	image, err := c.open(ctx, name, r, b.build)
	return image, host.NoSpace(err)
}

// Build builds the image of that name and puts it in place of the one in the
// cache, if any. A build that fails or whose ctx ends changes nothing. Errors
// are those of [Open].
func Build(ctx context.Context, name string, o Options) (*Image, error) {
	c, r, b, err := prepare(name, o)
	if err != nil {
		return nil, err
	}
	image, err := c.replace(ctx, name, r, b.build)
	return image, host.NoSpace(err)
}

func prepare(name string, o Options) (cache, *reporter, *builder, error) {
	rec, err := findRecipe(name)
	if err != nil {
		return cache{}, nil, nil, err
	}
	c, err := openCache(o.Cache)
	if err != nil {
		return cache{}, nil, nil, err
	}
	mirror := o.Mirror
	if mirror == "" {
		mirror = os.Getenv("VMTEST_MIRROR")
	}
	b := &builder{
		recipe:       rec,
		mirror:       mirror,
		allowExpired: os.Getenv("VMTEST_ALLOW_EXPIRED_RELEASE") == "1",
	}
	return c, &reporter{image: name, fn: o.Progress}, b, nil
}

// List gives the manifests of the images in the cache, oldest suite first.
// Their files are not verified. Images whose manifest is torn or of another
// format are left out of the list and named in the error.
func List(o Options) ([]Manifest, error) {
	c, err := openCache(o.Cache)
	if err != nil {
		return nil, err
	}
	var list []Manifest
	var errs []error
	for _, name := range Names() {
		if _, err := os.Stat(c.image(name)); os.IsNotExist(err) {
			continue
		}
		m, err := readManifest(c.image(name))
		if err != nil {
			errs = append(errs, fmt.Errorf("image %s: %w", name, err))
			continue
		}
		list = append(list, m)
	}
	return list, errors.Join(errs...)
}

// Remove takes an image out of the cache, with what killed builds of it left.
// Removing one that is not there is no error.
func Remove(ctx context.Context, name string, o Options) error {
	if _, err := findRecipe(name); err != nil {
		return err
	}
	c, err := openCache(o.Cache)
	if err != nil {
		return err
	}
	return c.remove(ctx, name, &reporter{image: name, fn: o.Progress})
}
